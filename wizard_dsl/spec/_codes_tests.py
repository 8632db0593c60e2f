"""E08x: test files, and what else stands beside a pipeline and names what is in it."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

TEST_CODES: Final = (
    Code(
        "E080", "the pipeline of a test or scenario has errors",
        "It can only run a pipeline that compiles. The errors are shown at their places in the pipeline; where "
        "only the overlay, the settings or the variables of one test bring them about, the message names the first.",
        "# triage.test.yaml\npipeline: triage.yaml       # in which a chain names a provider that is not defined",
        "# triage.test.yaml\npipeline: triage.yaml       # after the chain was mended",
    ),
    Code(
        "E081", "a test or scenario names what the pipeline does not have",
        "A step, input, output, chain or circuit breaker of that name is not in the pipeline, nor is an event of that "
        "name logged by anything. The message names what is nearest to it.",
        "# triage.test.yaml\nexpect: {steps: {topik: {text: billing}}}",
        "# triage.test.yaml\nexpect: {steps: {topic: {text: billing}}}",
    ),
    Code(
        "E082", "a pattern that no target matches",
        "Scripts and `served_by` go by the names of targets as results show them: provider/model, or the provider "
        "alone where the chain names no model. `*` stands for anything. A pattern that matches none does nothing, and "
        "is most often a model that the pipeline has changed.",
        '# triage.test.yaml\ntargets: {"openai/gpt-4o-mni": [503]}',
        '# triage.test.yaml\ntargets: {"openai/*": [503]}',
    ),
    Code(
        "E083", "an input of a test or scenario is not as the pipeline declares it",
        "The run would be refused before it begins: the input is missing, or its value does not fit its schema. A test "
        "of exactly that says `error: input`.",
        "# triage.test.yaml\ninputs: {language: Klingon}",
        "# triage.test.yaml\ninputs: {language: Klingon}\nexpect: {error: input}",
    ),
    Code(
        "E084", "what a test compares with cannot be read",
        "`matches` takes a regular expression as Python has them, and a key of `at` is a path: names with dots between "
        "them, numbers in brackets.",
        "# triage.test.yaml\nexpect: {text: {matches: '(bill'}}",
        "# triage.test.yaml\nexpect: {text: {matches: '^(bill|invoice)'}}",
    ),
    Code(
        "E085", "nothing can be within this range",
        "`at_least` is greater than `at_most`, so the test would always fail.",
        "# triage.test.yaml\nexpect: {attempts: {at_least: 3, at_most: 2}}",
        "# triage.test.yaml\nexpect: {attempts: {at_least: 2, at_most: 3}}",
    ),
)  # fmt: skip
