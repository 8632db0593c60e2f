"""E09x and W17x: cassettes, which are no YAML; the examples are lines of them."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

CASSETTE_CODES: Final = (
    Code(
        "E090", "not a cassette",
        "A cassette is a file of JSON Lines in UTF-8. Its first line is the header, which has the key `cassette`. It "
        "is written by `wizard run FILE --cassette NAME --record all`, never by hand. A file that is no cassette is "
        "never written over.",
        "# wizard run triage.yaml --cassette triage.yaml --record all",
        "# wizard run triage.yaml --cassette triage.cassette.jsonl --record all",
    ),
    Code(
        "E091", "a cassette of a version that is not known",
        "The key `cassette` of the first line is the version of the format. This wizard does not know the one it "
        "found, so it reads nothing of the file: what a newer one means is not guessed.",
        '{"cassette": 7, "wizard": "9.0.0"}',
        '{"cassette": 1, "wizard": "0.1.0"}',
    ),
    Code(
        "E092", "a line of a cassette that is wrong",
        "Every line after the header is one exchange with a target, as a JSON object. A line that is cut off, has a "
        "key that is not known, or ends in no way or in two, was not written by wizard; nothing of the file is used.",
        '{"target": "openai/gpt-4o", "request": {}, "status": 200, "end": 812, "cancelled": 900}',
        '{"target": "openai/gpt-4o", "request": {}, "status": 200, "end": 812}',
    ),
    Code(
        "E093", "a cassette that was edited",
        "Each line ends with a checksum, and the header has one over all of them. They keep a slip in an editor, or a "
        "merge, from passing for what a provider sent.\n\n"
        "An edit that is meant is taken over by `wizard cassette accept FILE`, which shows the lines it concerns and "
        "writes the checksums anew. It reads the file first, so a mistake in a line is told all the same, and secrets "
        "are taken out.",
        "# a line was changed by hand, and wizard test says E093",
        "# wizard cassette accept triage.cassette.jsonl",
    ),
)  # fmt: skip

CASSETTE_WARNINGS: Final = (
    Code(
        "W170", "a cassette recorded with other prompts",
        "The header holds a hash of the texts that reach a target: prompts with their files, what `embed` and `render` "
        "steps make, and all this of the files that steps run. By now there are others. Requests that changed find no "
        "answer; where all are found, a prompt was changed that this run does not use.",
        "# prompts/reply.md was changed after the cassette was recorded",
        "# wizard run triage.yaml --cassette triage.cassette.jsonl --record all",
    ),
    Code(
        "W171", "a cassette that is old",
        "Its oldest exchange was recorded more than 90 days ago. Providers change what they send: fields, headers, the "
        "words of their errors. A test that replays an old answer says nothing about that.",
        "# recorded_at is a year ago",
        "# wizard run triage.yaml --cassette triage.cassette.jsonl --record all",
    ),
)  # fmt: skip
