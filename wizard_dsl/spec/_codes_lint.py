"""W18x and W19x: more of what runs, and is probably not meant, and comments that allow it; E099: rules of plug-ins."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

RULE_CODES: Final = (
    Code(
        "E099", "a rule of a plug-in that cannot be used",
        "An installed package announces a rule under the entry point wizard_dsl.lint_rules, and it does not load, or "
        "fails at this file. What it looks for was not looked for, so this is an error: the message names the package. "
        "Mend or uninstall it, or set WIZARD_PLUGINS= to do without plug-ins.",
        "# pip install acme-rules, whose module cannot be imported",
        "# pip uninstall acme-rules",
    ),
)  # fmt: skip

LINT_CODES: Final = (
    Code(
        "W180", "a fallback that is never reached",
        "`fallback_on` and `on_rate_limit` take every kind of failure out that would lead to the next target of the "
        "chain. It is listed, and never asked. Only a budget may still lead there, if a file that runs this one as a "
        "step brings one: its first target may be too dear.",
        "chains:\n  default:\n    targets: [openai/gpt-4o, local]\n    on_rate_limit: {then: fail}\n"
        "    fallback_on: {connect: false, timeout: false, server: false, quota_exhausted: false,\n"
        "      malformed_response: false, circuit_open: false, context_length: false}",
        "chains:\n  default:\n    targets: [openai/gpt-4o, local]\n    fallback_on: {server: false}",
    ),
    Code(
        "W181", "targets that share their fate",
        "The targets have the same endpoint and the same key: an outage, a refused key or an empty account ends all of "
        "them at once, so none is a fallback for another. Two entries under `providers` do not change that. A second "
        "model of the same provider helps only where one model is overloaded, or too dear for a budget.",
        "providers: {one: {type: openai, api_key: '${env:OPENAI_API_KEY}'}, "
        "two: {type: openai, api_key: '${env:OPENAI_API_KEY}'}}\n"
        "chains: {default: {targets: [one/gpt-4o, two/gpt-4o-mini]}}",
        "providers: {one: {type: openai, api_key: '${env:OPENAI_API_KEY}'}, "
        "two: {type: anthropic, api_key: '${env:ANTHROPIC_API_KEY}'}}\n"
        "chains: {default: {targets: [one/gpt-4o, two/claude-sonnet-4-5]}}",
    ),
    Code(
        "W182", "a target that cannot do what is asked",
        "A step sends tools, images or a system message, or may send more than the window holds, and the target is "
        "known not to take it. Nothing is lost without being asked for, so the target is skipped: a fallback that is "
        "none. Use a model that can, or say under `allow_loss` what may be left out. A window cannot be left out.",
        "providers: {local: {type: mock, models: {small: {system: false}}}}\n"
        "chains: {default: {targets: [local/small]}}\n"
        "steps: {answer: {prompt: {system: Be brief., user: Hello}}}",
        "providers: {local: {type: mock, models: {small: {system: false}}}}\n"
        "chains: {default: {targets: [local/small], allow_loss: [system]}}\n"
        "steps: {answer: {prompt: {system: Be brief., user: Hello}}}",
    ),
    Code(
        "W183", "a stream that only the deadline ends",
        "The idle timeout ends a stream in which nothing comes any more, and the total timeout ends any attempt. "
        "Without both, a stream that stalls holds the run until its deadline, and no other target gets its turn. That "
        "is also so where a chain takes no policies, or a set that has no timeout.",
        "policies: {default: {timeout: {idle: off, total: off}}}",
        "policies: {default: {timeout: {idle: 30s, total: off}}}",
    ),
    Code(
        "W184", "a condition that is always the same",
        "All values that the condition looks at have an enum, are constant, or are true or false, and for all of them "
        "it says the same. A step whose condition is never true never runs, nor does what needs it to have run.",
        "inputs: {language: {type: string, enum: [en, de]}}\n"
        "steps: {answer: {prompt: {user: Hello}, when: language == 'fr'}}",
        "inputs: {language: {type: string, enum: [en, de, fr]}}\n"
        "steps: {answer: {prompt: {user: Hello}, when: language == 'fr'}}",
    ),
    Code(
        "W185", "a mock among real targets",
        "A target of the type mock makes its answers up. In a file that also asks real models it is probably left "
        "over from a trial, and serves nonsense when the others fail. Tests and `--mock` need none.",
        "chains: {default: {targets: [openai/gpt-4o, stand_in]}}\n"
        "providers: {openai: {type: openai, api_key: '${env:OPENAI_API_KEY}'}, stand_in: {type: mock}}",
        "chains: {default: {targets: [openai/gpt-4o]}}\n"
        "providers: {openai: {type: openai, api_key: '${env:OPENAI_API_KEY}'}}",
    ),
    Code(
        "W186", "a loop without a bound",
        "`for_each` makes a call for each element, and the schema of what it goes over does not say how many there may "
        "be: one long input makes thousands of calls. Say `maxItems` of a list, `maxLength` of a text that is split, "
        "or take a part, as in `parts[:20]`.",
        "inputs: {parts: {type: array, items: {type: string}}}\n"
        "steps: {each: {for_each: parts, prompt: {user: '{{ item }}'}}}",
        "inputs: {parts: {type: array, items: {type: string}, maxItems: 20}}\n"
        "steps: {each: {for_each: parts, prompt: {user: '{{ item }}'}}}",
    ),
    Code(
        "W187", "a model that its provider gives up",
        "The price library marks the model as deprecated: it still answers, and one day it will not. `wizard check` "
        "tells it, because the library takes a while to load.",
        "chains: {default: {targets: [gemini/gemini-2.0-flash]}}\n"
        "providers: {gemini: {type: gemini, api_key: '${env:GEMINI_API_KEY}'}}",
        "chains: {default: {targets: [gemini/gemini-2.5-flash]}}\n"
        "providers: {gemini: {type: gemini, api_key: '${env:GEMINI_API_KEY}'}}",
    ),
    Code(
        "W190", "a comment that allows nothing",
        "A warning is allowed by a comment on its line, or on one of its own above it, which names the code and says "
        "why. Without a reason nobody knows later whether it still holds, so the comment counts for nothing. So does "
        "one in other words, such as `wizard: ignore`.",
        "chains:\n  default:\n    targets: [local]\n    strategy: cheapest   # wizard: allow W136",
        "chains:\n  default:\n    targets: [local]\n"
        "    strategy: cheapest   # wizard: allow W136 because a second target comes with the next release",
    ),
    Code(
        "W191", "a comment that allows what it cannot",
        "The code does not exist, or is one that no comment allows: an error stands in the way of a run whatever one "
        "thinks of it, and what is said about these comments is mended in the comment.",
        "chains: {default: {targets: [local], strategy: cheapest}}   # wizard: allow W163 because one is enough",
        "chains: {default: {targets: [local], strategy: cheapest}}   # wizard: allow W136 because one is enough",
    ),
    Code(
        "W192", "a comment that is no longer needed",
        "The code is not found on the line that the comment is about. Left there it would hide the next mistake of the "
        "kind. Of a file with errors, and of wizard.yaml, which serves other pipelines, too, nothing is known.",
        "chains: {default: {targets: [local]}}   # wizard: allow W136 because one is enough",
        "chains: {default: {targets: [local]}}",
    ),
)  # fmt: skip
