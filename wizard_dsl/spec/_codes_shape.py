"""E02x: the shape of the file. E03x: references, secrets and settings."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

SHAPE_CODES: Final = (
    Code(
        "E020", "the file is empty",
        "There is nothing in the file, or comments only. The smallest pipeline that works has five lines; `wizard new "
        "pipeline` writes one.",
        "# nothing but comments",
        "version: 1\ninputs: {question: {type: string}}\nproviders: {local: {type: embedded}}\n"
        "chains: {default: {targets: [local]}}\n"
        'steps: {answer: {prompt: {user: "{{ question }}"}}}',
    ),
    Code(
        "E021", "unknown key",
        "The mapping has no such key. A key that is not known is never ignored: a misspelt limit would be no limit. "
        "The message names the key that is nearest, else those there are. Check the indentation, too: the key may be "
        "right and stand one level too high or too low.",
        "policies: {default: {retry: {max_attempt: 5}}}",
        "policies: {default: {retry: {max_attempts: 5}}}",
    ),
    Code(
        "E022", "wrong type",
        "The value is of another kind than the key takes: a text for a number, a list for a mapping. `yes`, `no`, `on` "
        "and `off` are texts in YAML 1.2; true and false are written `true` and `false`. A number in quotes is a text.",
        "chains: {default: {targets: local}}",
        "chains: {default: {targets: [local]}}",
    ),
    Code(
        "E023", "a key is missing",
        "The mapping needs this key and it is not there. The place shown is where the mapping begins.",
        "providers: {local: {model: smollm2-135m}}",
        "providers: {local: {type: embedded, model: smollm2-135m}}",
    ),
    Code(
        "E024", "not a quantity with its unit",
        "Durations (500ms, 30s, 2m), sizes (10MiB), money ($0.05), ratios (20%) and rates (10/s, 60/minute, "
        "100000 tokens/minute) carry their unit. A bare number is refused: nobody who reads `timeout: 30` knows "
        "whether it is seconds or milliseconds.",
        "policies: {default: {timeout: {idle: 30}}}",
        "policies: {default: {timeout: {idle: 30s}}}",
    ),
    Code(
        "E025", "not one of the values allowed",
        "The key takes one of a few words, and this is none of them. The message names the nearest, else all.",
        "policies: {default: {cache: {eviction: lur}}}",
        "policies: {default: {cache: {eviction: lru}}}",
    ),
    Code(
        "E026", "a value is out of range",
        "The value has the right type and is too small or too large. The message says which range is allowed. A time "
        "in which nothing could happen, such as a deadline of 0s, is too small as well.",
        "policies: {default: {retry: {max_attempts: 11}}}",
        "policies: {default: {retry: {max_attempts: 10}}}",
    ),
    Code(
        "E027", "a text does not have the form wanted",
        "The key takes a text of a certain form, given as a regular expression where there is no better word for it.",
        "providers: {claude: {type: anthropic, api_version: newest}}",
        'providers: {claude: {type: anthropic, api_version: "2023-06-01"}}',
    ),
    Code(
        "E028", "too few or too many",
        "A list or mapping has fewer or more entries, or a text fewer or more characters, than the key allows, or a "
        "list has an entry twice where each must be different.",
        "chains: {default: {targets: []}}",
        "chains: {default: {targets: [local]}}",
    ),
    Code(
        "E029", "values that do not go together",
        "Each value is right by itself, but the schema does not allow them together, or not at this place.",
        'prompts: {reply: {file: prompts/reply.md, user: "{{ ticket }}"}}',
        "prompts: {reply: {file: prompts/reply.md}}",
    ),
    Code(
        "E030", "a reference is malformed",
        "A reference is `${env:NAME}`, `${env:NAME:-default}` or `${file:path}`. References do not nest, and there is "
        "no other scheme. A text that shall contain `${` itself has it written `$${`.",
        'providers: {openai: {type: openai, api_key: "${OPENAI_API_KEY}"}}',
        'providers: {openai: {type: openai, api_key: "${env:OPENAI_API_KEY}"}}',
    ),
    Code(
        "E031", "a variable is not set",
        "The file refers to an environment variable that is not set. `wizard validate` needs no environment; `check` "
        "and `run` do. Set the variable, or give a default where there is a sensible one.",
        'providers: {openai: {type: openai, api_key: "${env:OPENAI_API_KEY}"}}   # and the variable is not set',
        'providers: {vllm: {type: vllm, base_url: "${env:VLLM_URL:-http://127.0.0.1:8000/v1}"}}',
    ),
    Code(
        "E032", "a file referred to cannot be read",
        "`${file:path}` stands for the text of a file, with one line break at its end removed. The path is relative to "
        "the file that holds the reference. The file is missing, unreadable, larger than 1 MiB, or not UTF-8.",
        'providers: {openai: {type: openai, api_key: "${file:openai.key}"}}   # and there is no such file',
        'providers: {openai: {type: openai, api_key: "${file:/run/secrets/openai_key}"}}',
    ),
    Code(
        "E033", "a path leaves the project",
        "A path in a file is relative to that file and must stay inside the project: the folder of `wizard.yaml`, else "
        "of the git repository, else of the file itself; symbolic links are followed before this is judged. "
        "Otherwise a pipeline from a pull request could read any file of the machine that runs it.\n\n"
        "Secrets mounted under /run/secrets or /var/run/secrets may be named by their absolute path.",
        "prompts: {reply: {file: ../../../etc/hostname}}",
        "prompts: {reply: {file: prompts/reply.md}}",
    ),
    Code(
        "E034", "a secret is written in the file",
        "Keys come from the environment or from mounted files: files are checked in, and a key in a file is in the "
        "history for good. Replace the text by a reference, and revoke the key if the file has left this machine. The "
        "default of a reference, as in `${env:NAME:-default}`, is written in the file, too.",
        "providers: {openai: {type: openai, api_key: sk-example}}",
        'providers: {openai: {type: openai, api_key: "${env:OPENAI_API_KEY}"}}',
    ),
    Code(
        "E035", "a file named in the document is missing",
        "A prompt or a pipeline is taken from another file, and that file is not there or cannot be read. The path is "
        "relative to the file that holds it.",
        "prompts: {reply: {file: prompt/reply.md}}",
        "prompts: {reply: {file: prompts/reply.md}}",
    ),
    Code(
        "E036", "a variable or flag cannot be understood",
        "`--set` takes `path=value`, as in `policies.default.retry.max_attempts=5` or "
        "`chains.writer.targets[0].weight=2`; a key with a dot is put in double quotes. `WIZARD_SET__a__b=v` is the "
        "same as a variable. The value is YAML. `WIZARD_ENABLE_CACHING` and `WIZARD_ENABLE_RETRY` take true or false.",
        "# wizard run triage.yaml --set retry.max_attempts",
        "# wizard run triage.yaml --set policies.default.retry.max_attempts=5",
    ),
    Code(
        "E037", "a setting names a list entry that is not there",
        "The path of a `--set` or `WIZARD_SET__` leads to an entry of a list, counted from 0, and the list is shorter, "
        "or what stands there is no list. To replace a list, set it as a whole.",
        "# --set chains.default.targets[3]=local, where the chain has one target",
        "# --set 'chains.default.targets=[openai/gpt-4o, local]'",
    ),
    Code(
        "E038", "a text with `${` that is no reference",
        "In a free text `${` begins a reference, and what follows here is none. A text that shall contain `${` itself "
        "has it written `$${`. In templates, which belong to the model, `${` is text like any other.",
        'description: "sorts by ${field}"',
        'description: "sorts by $${field}"',
    ),
)  # fmt: skip
