"""E00x and E01x: reading a file."""

from __future__ import annotations

from typing import Final

from wizard_dsl.spec.code import Code

SOURCE_CODES: Final = (
    Code(
        "E001", "a file cannot be read",
        "The operating system refused to open the file: it does not exist, or this user may not read it. A path on the "
        "command line is relative to the working directory, a path in a file to the folder of that file.",
        "# wizard validate pipelines/traige.yaml, where the file is called triage.yaml",
        "# wizard validate pipelines/triage.yaml",
    ),
    Code(
        "E002", "a directory stands where a file is wanted",
        "The path names a directory. `wizard validate` takes folders and looks for pipelines in them; `run` and the "
        "other verbs take one file, as `cassette` of a test does.",
        "# wizard run pipelines/",
        "# wizard run pipelines/triage.yaml",
    ),
    Code(
        "E003", "the file is not UTF-8",
        "Wizard reads UTF-8, with or without a byte order mark. Another encoding, such as Latin-1 or UTF-16, would "
        "turn letters into others without a word. Editors offer the encoding when a file is saved.",
        "description: Antw\\xf6rter            # the byte F6 is ö in Latin-1",
        "description: Antwörter               # saved as UTF-8",
    ),
    Code(
        "E004", "a character may not stand in YAML",
        "Control characters, such as NUL or escape, and the Unicode line separators may not stand in a YAML file: they "
        "are invisible, and tools disagree on what they mean. A NUL at every second place means UTF-16.\n\n"
        "Where a text really needs one, write it as an escape in double quotes.",
        "description: a bell ␇                # the character U+0007 itself",
        'description: "a bell \\a"',
    ),
    Code(
        "E005", "the file is too large",
        "A pipeline file may have 2 MiB. Files of that size hold data, and data belongs in inputs, in prompt files or "
        "in the rows of a batch.",
        "# a pipeline with a whole book in the text of a prompt",
        "inputs: {book: {type: string}}       # wizard run summarize.yaml -i book=@book.txt",
    ),
    Code(
        "E006", "nested too deeply",
        "Values may be nested 64 levels deep. More is nearly always a bracket that is opened again and again and never "
        "closed.",
        "# [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "chains: {default: {targets: [local]}}",
    ),
    Code(
        "E007", "the file has too many values",
        "A file may hold 100,000 keys, entries and scalars. Files of that size hold data, and data belongs in inputs.",
        "# an enum with 200,000 words",
        "inputs: {word: {type: string, maxLength: 40}}",
    ),
    Code(
        "E008", "not valid YAML",
        "The text breaks the rules of YAML, so nothing after this place was read. The usual reasons: a value that "
        "contains `: ` or begins with `@` or a backtick and is not quoted; a tab in the indentation; a bracket or a "
        "quote that is not closed.",
        "description: Sorts a ticket: billing, bug or spam",
        'description: "Sorts a ticket: billing, bug or spam"',
    ),
    Code(
        "E009", "aliases expand to too much",
        "Each `*alias` repeats all of its anchor's value, and aliases of aliases multiply. Expanded, the file would "
        "hold more than 100,000 values.",
        "# a: &a [x, x]   b: &b [*a, *a]   c: &c [*b, *b]   … and so on",
        "policies: {default: {retry: 3}, careful: {retry: 5}}",
    ),
    Code(
        "E010", "an alias inside its own anchor",
        "The alias stands inside the value it repeats, which would go on for ever.",
        "policies: &all {default: {retry: 3}, careful: *all}",
        "policies: {default: &some {retry: 3}, careful: *some}",
    ),
    Code(
        "E011", "an alias without an anchor",
        "`*name` repeats the value that was marked `&name` further up in the same file; there is none. A text that "
        "begins with `*` must be quoted.",
        "policies: {default: {retry: 3}, careful: *some}",
        "policies: {default: &some {retry: 3}, careful: *some}",
    ),
    Code(
        "E012", "a key stands twice",
        "A mapping has the same key twice. Most tools keep the last one without a word, so that a reviewer reads one "
        "value and the program runs with another; here it is an error.",
        "policies: {default: {retry: 3, timeout: 40s, retry: 5}}",
        "policies: {default: {retry: 5, timeout: 40s}}",
    ),
    Code(
        "E013", "a second document",
        "A file holds one document. A line `---` after content begins another one, which would not be read.",
        "version: 1\n---\nversion: 1",
        "version: 1",
    ),
    Code(
        "E014", "a tag is not supported",
        "Tags such as `!include` or `!!python/object` are not supported: a file is plain data. `!!str` is understood. "
        "For texts in other files write `file:` in a prompt, for variables and secrets `${env:NAME}`.",
        "prompts: {reply: !include prompts/reply.yaml}",
        "prompts: {reply: {file: prompts/reply.md}}",
    ),
    Code(
        "E015", "merge keys are not supported",
        "The merge key `<<` belongs to YAML 1.1; in YAML 1.2 it is a key like any other. Wizard has inheritance of its "
        "own: name a policy set and use it, or put what pipelines share into `wizard.yaml`. A quoted '<<' is a name.",
        "policies: {default: &base {retry: 3}, careful: {<<: *base, timeout: 10s}}",
        "chains: {default: {targets: [local], policies: {use: default, timeout: 10s}}}",
    ),
    Code(
        "E016", "a key is not a name",
        "Keys are names: text, or a whole number taken as its text, such as the status in `{503: true}`. A list, a "
        "mapping, `true`, `null` or a number with a point is no name; in quotes it is text.\n\n"
        "A text that begins with a template must be in quotes: without them `{{ question }}` is a mapping whose key is "
        "a mapping.",
        "steps: {answer: {prompt: {user: {{ question }}}}}",
        'steps: {answer: {prompt: {user: "{{ question }}"}}}',
    ),
    Code(
        "E017", "not a finite number",
        "`.inf`, `.nan` and numbers too large for 64 bits have no place in JSON, and every comparison with `.nan` is "
        "false, so no limit would ever hold. To have no limit, write `off` where the key allows it.",
        "policies: {default: {timeout: {total: .inf}}}",
        "policies: {default: {timeout: {total: off}}}",
    ),
    Code(
        "E018", "more findings than are shown",
        "Of one kind of check and file the first hundred findings are shown. They often have one cause, such as a "
        "section that is indented too deeply.",
        "# a file with hundreds of mistakes",
        "version: 1",
    ),
    Code(
        "E019", "the layout cannot be changed",
        "`wizard fmt` compares what it is about to write with what it read: the file has to say the same, with every "
        "comment. Where it would not, the rules of `fmt` do not know something that the file makes use of. It stays as "
        "it is; please report it as a bug, with the lines that are laid out in an unusual way.",
        "# a file that would say something else",
        "version: 1",
    ),
)  # fmt: skip
