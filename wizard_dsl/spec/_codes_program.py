"""E04x: names and steps. E05x: templates. E06x: policies and chains."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

PROGRAM_CODES: Final = (
    Code(
        "E040", "not a good name",
        "Names of inputs, providers, policy sets, chains, prompts and steps begin with a small letter and go on with "
        "small letters, digits and underscores, so that each can be used in a template as it is.",
        'steps: {Final-Answer: {prompt: {user: "{{ question }}"}}}',
        'steps: {final_answer: {prompt: {user: "{{ question }}"}}}',
    ),
    Code(
        "E041", "a reserved name for an input",
        "Templates use these words for something else: steps, item, index, self, super, loop, text, json, attempts, "
        "served_by, elapsed, cost, error, breakers. An input of that name could not be reached.",
        "inputs: {text: {type: string}}",
        "inputs: {letter: {type: string}}",
    ),
    Code(
        "E042", "unknown provider type",
        "`type` is a wire protocol (openai, openai_responses, anthropic, gemini, ollama, cohere, embedded, mock, "
        "openai_compatible with a base_url), a preset (groq, together, mistral, vllm …), or the dotted name of an "
        "installed plug-in.",
        "providers: {main: {type: opnai}}",
        "providers: {main: {type: openai}}",
    ),
    Code(
        "E043", "a name that is not defined",
        "The file uses a provider, chain, prompt, policy set or step that neither it nor `wizard.yaml` defines.",
        "steps: {answer: {prompt: clasify}}\nprompts: {classify: {user: Sort this.}}",
        "steps: {answer: {prompt: classify}}\nprompts: {classify: {user: Sort this.}}",
    ),
    Code(
        "E044", "steps wait for each other",
        "Each of these steps needs the result of the next, and the last needs the first, so none could begin. An edge "
        "comes from a template that uses `steps.<name>`, from `when` or `for_each`, or from `needs`.",
        'steps:\n  a: {prompt: {user: "{{ steps.b.text }}"}}\n  b: {prompt: {user: "{{ steps.a.text }}"}}',
        'steps:\n  a: {prompt: {user: "{{ question }}"}}\n  b: {prompt: {user: "{{ steps.a.text }}"}}',
    ),
    Code(
        "E045", "a step that can never run",
        "No run reaches the step: it needs `ran` of a step whose `when` is never true.",
        "steps:\n  a: {prompt: {user: Hello}, when: \"false\"}\n  b: {prompt: {user: Hello}, needs: {a: ran}}",
        "steps:\n  a: {prompt: {user: Hello}}\n  b: {prompt: {user: Hello}, needs: {a: ran}}",
    ),
    Code(
        "E046", "pipelines that contain each other",
        "A step of type `pipeline` runs another file, and that file, perhaps by way of others, this one again.",
        "steps: {again: {type: pipeline, file: triage.yaml}}          # in triage.yaml itself",
        "steps: {sort: {type: pipeline, file: classify.yaml}}",
    ),
    Code(
        "E047", "a plug-in is not installed or does not load",
        "A kind with a dotted name comes from an installed package. Either no installed package announces it, or "
        "importing it failed; then the message names the package. `WIZARD_PLUGINS=` (empty) turns all plug-ins off.",
        "policies: {default: {acme.redact: {}}}       # and the package raises when it is imported",
        "policies: {default: {acme.redact: {}}}       # after pip install --upgrade of the package",
    ),
    Code(
        "E048", "unknown step type",
        "`type` of a step is generate (if nothing is said), embed, render, pipeline, or the dotted name of an "
        "installed plug-in.",
        "steps: {answer: {type: generat, prompt: {user: Hello}}}",
        "steps: {answer: {type: generate, prompt: {user: Hello}}}",
    ),
    Code(
        "E049", "the schema of an input or output is invalid",
        "An input, and the `output.schema` of a step, is a JSON Schema of draft 2020-12, and this is none, or the "
        "default does not fit it.",
        "inputs: {ticket: {type: text}}",
        "inputs: {ticket: {type: string}}",
    ),
    Code(
        "E050", "a template cannot be read",
        "The text breaks the rules of Jinja2: an opened `{{` or `{% if %}` that is not closed, or a filter that does "
        "not exist. The place is the line inside the text.",
        'steps: {answer: {prompt: {user: "{{ question }"}}}',
        'steps: {answer: {prompt: {user: "{{ question }}"}}}',
    ),
    Code(
        "E051", "a template uses an unknown name",
        "In a template the inputs are known by their names, earlier steps as `steps.<name>`, and `item` and `index` in "
        "a step with `for_each`. Anything else is found here, before the run.",
        'inputs: {question: {type: string}}\nsteps: {answer: {prompt: {user: "{{ qestion }}"}}}',
        'inputs: {question: {type: string}}\nsteps: {answer: {prompt: {user: "{{ question }}"}}}',
    ),
    Code(
        "E052", "an untrusted input in a system message",
        "Whoever fills an input could give the model orders if it stood in the system message. Put it into the user "
        "message, or declare the input `trusted: true` if only the operator sets it. What a step answered is as "
        "untrusted as what it was asked.",
        "inputs: {ticket: {type: string}}\n"
        'steps: {answer: {prompt: {system: "Answer this: {{ ticket }}", user: Go.}}}',
        "inputs: {ticket: {type: string}}\n"
        'steps: {answer: {prompt: {system: Answer the ticket., user: "{{ ticket }}"}}}',
    ),
    Code(
        "E053", "an expression cannot be read",
        "`when`, `for_each` and predicates are bare Jinja2 expressions, without `{{ }}`.",
        'steps: {answer: {prompt: {user: Hello}, when: "{{ question }} != \'\'"}}',
        "steps: {answer: {prompt: {user: Hello}, when: question != ''}}",
    ),
    Code(
        "E055", "a prompt does not have the form of one",
        "A prompt has `system` and `user`, or `messages`, or a `file`, and at least one message. A message has a role "
        "and a content; a part of a content is `{text: …}` or `{image: …}`. In a prompt file the messages stand under "
        "the headings `# system`, `# user` and `# assistant`, and the front matter holds `params` and `tools`.",
        "prompts: {hello: {system: Be kind., messages: [{role: user, content: Hello}]}}",
        "prompts: {hello: {system: Be kind., user: Hello}}",
    ),
    Code(
        "E060", "unknown policy kind",
        "A policy set is keyed by kind, and there is no such kind. Kinds of plug-ins have dotted names and are known "
        "while the package is installed.",
        "policies: {default: {retries: 3}}",
        "policies: {default: {retry: 3}}",
    ),
    Code(
        "E061", "a policy at the wrong place",
        "Each kind has its scope: some belong to the run or the call, others to each target. Under a chain or in a set "
        "a policy goes to its own place; on a target or a provider only what can work there is allowed.",
        "chains: {default: {targets: [{provider: local, policies: {cache: 1h}}]}}",
        "chains: {default: {targets: [local], policies: {cache: 1h}}}",
    ),
    Code(
        "E062", "unknown strategy",
        "`strategy` says how a chain chooses among its targets, and there is none of this name.",
        "chains: {default: {strategy: sequental, targets: [local]}}",
        "chains: {default: {strategy: sequential, targets: [local]}}",
    ),
    Code(
        "E063", "a target stands twice in a chain",
        "The same provider and model with the same settings stands twice. A breaker or a limit belongs to the target, "
        "so the second one fails as the first did. To try again, write `retry`.",
        "chains: {default: {targets: [local, local]}}",
        "chains: {default: {targets: [local], policies: {retry: 3}}}",
    ),
    Code(
        "E064", "a shared policy is set in two ways",
        "The state of this policy is shared by all who use the same target or provider, and two places give it "
        "different settings. The message shows both lines. Write it once, in a set or on the provider.",
        "chains:\n  a: {targets: [local], policies: {circuit_breaker: 5}}\n"
        "  b: {targets: [local], policies: {circuit_breaker: 9}}",
        "policies: {default: {circuit_breaker: 5}}\nchains: {a: {targets: [local]}, b: {targets: [local]}}",
    ),
    Code(
        "E065", "not how something is switched off",
        "`off` removes an inherited policy: `retry: off`. The words `false`, `none`, `no` and `disabled` do not, `{}` "
        "takes the defaults, and an empty value is an error. Chains that inherit nothing write `use: none`.",
        "chains: {default: {targets: [local], policies: {retry: none}}}",
        "chains: {default: {targets: [local], policies: {retry: off}}}",
    ),
    Code(
        "E066", "a target without a model",
        "A target is written as provider/model. A provider alone is enough where it has a `model`, or where its type "
        "has one of its own.",
        "providers: {openai: {type: openai, api_key: '${env:OPENAI_API_KEY}'}}\nchains: {default: {targets: [openai]}}",
        "providers: {openai: {type: openai, api_key: '${env:OPENAI_API_KEY}'}}\n"
        "chains: {default: {targets: [openai/gpt-4o-mini]}}",
    ),
    Code(
        "E067", "a chain without an enabled target",
        "`enabled: false` takes a target out of its chain. At least one has to stay.",
        "chains: {default: {targets: [{provider: local, enabled: false}]}}",
        "chains: {default: {targets: [{provider: local, enabled: false}, mock/small]}}",
    ),
    Code(
        "E068", "not what on_error can be",
        "When a step fails, `on_error` lets the run fail, skips the step, or puts a value in its place.",
        "steps: {answer: {prompt: {user: Hello}, on_error: ignore}}",
        "steps: {answer: {prompt: {user: Hello}, on_error: {default: Sorry, no answer.}}}",
    ),
    Code(
        "E069", "an input of another pipeline is missing",
        "A step of type pipeline gives the other file all inputs that have no default there.",
        "steps: {facts: {type: pipeline, file: facts.yaml}}",
        'steps: {facts: {type: pipeline, file: facts.yaml, inputs: {topic: "{{ topic }}"}}}',
    ),
    Code(
        "E070", "a pipeline without steps",
        "There is nothing to run: a pipeline has at least one step, and by default its output is the text of the last.",
        "steps: {}",
        "steps: {answer: {prompt: {user: Hello}}}",
    ),
    Code(
        "E071", "a policy is not complete",
        "The policy has a key without a default, and no place – set, chain, target – gives it. Built-in "
        "policies have a default for every key; those of plug-ins may not.",
        "chains: {default: {targets: [local], policies: {acme.quota: {}}}}",
        "chains: {default: {targets: [local], policies: {acme.quota: {limit: 10}}}}",
    ),
    Code(
        "E072", "a draw that draws nothing",
        "A weighted chain chooses its target by chance, or by the hash of `sticky`. With all weights 0 there is "
        "nothing to draw, and a `sticky` that looks at no input sends all calls to one target.",
        "chains: {default: {strategy: {type: weighted, sticky: '1'}, targets: [local, mock/small]}}",
        "chains: {default: {strategy: {type: weighted, sticky: customer}, targets: [local, mock/small]}}\n"
        "inputs: {customer: {type: string}}",
    ),
    Code(
        "E074", "concurrency with both a limit and adaptive, or with neither",
        "`limit` is a fixed number of attempts at once, `adaptive` has it found by trying. Exactly one of them is "
        "needed, after all places – set, chain, target – are put together: to replace one by the other in a chain, "
        "take it out of the set.",
        "chains: {default: {targets: [local], policies: {concurrency: {limit: 8, adaptive: {max: 20}}}}}",
        "chains: {default: {targets: [local], policies: {concurrency: {adaptive: {max: 20}}}}}",
    ),
    Code(
        "E076", "a state that leads nowhere",
        "`state` says where breakers, limits and the like live: `memory` (each process has its own), the path of an "
        "SQLite file that the processes of one machine share (.wizard/state.db, or sqlite:NAME), or the URL of a Redis "
        "or Valkey server that all processes share: redis://HOST:PORT/0, rediss:// for TLS, unix:// for a socket. A "
        "server needs the package redis: pip install 'wizard-dsl[redis]'.",
        "state: redsi://cache.internal:6379/0",
        "state: redis://cache.internal:6379/0",
    ),
    Code(
        "E078", "a provider's settings make no sense together",
        "Each of them is of the right type, and no provider can be made of them: a pattern that is no regular "
        "expression, error rates of more than 100% in all, a 99th percentile below the median.",
        "providers: {local: {type: mock, latency: {median: 2s, p99: 1s}}}",
        "providers: {local: {type: mock, latency: {median: 1s, p99: 2s}}}",
    ),
    Code(
        "E079", "a bound that does not hold",
        "`bounds` says what a run of the file may need in the worst case: attempts, latency, cost. The plan, which is "
        "never below what a run can need, is above it, or something leaves it open; the message says what adds most, "
        "or what would close it. `wizard plan` shows the whole.",
        "bounds: {attempts: 2}",
        "bounds: {attempts: 3}",
    ),
)  # fmt: skip
