"""YAML as people and programs leave it: comments in every place, every kind of scalar, brackets over several lines,
lists as deep as their keys, odd line ends. Part of it is no YAML, or none that Wizard takes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

SCALARS = (
    "x", "1", "1e3", "0x1", "0o7", "on", "yes", "~", "null", "", "'it''s'", '"a: {b}"', "'on'", '"1e3"', '"0x1"',
    "why?", "a b", "a#b", "'a # b'", '"é ü 🎉"', "日本語", "!!str 1", "http://x/y?z=1", "a:b", "-1", "'- x'", "30s",
    "$0.05", "<<", "'{{ x }}'", '"\\x1b"', '"tab\\there"', "x" * 130, '"' + "w " * 70 + '"', "w " * 70 + "z",
    '"a\\\n     b"', "2020-01-01", '"a\n\n  b"', "'a\n  b'", "a\n  b\n  c", "?x", "a ,b", "&a x", "true",
    "'\t'", "-", "*n1",
)  # fmt: skip
HEADERS = ("|", "|-", "|+", ">", ">-", ">+", "|2", "|1-", "|+1", "|2+", ">3-", "| # c", "|-   #c", "|4")
LINES = ("t", "  t", " # none", "", "   ", "\tt", "- x", "a: b", "é", "#c", "{{ x }}", "x  ", "---", "\t")
HEADS = ([], [], [], ["---"], ["# h", "", "# k"], ["%YAML 1.2", "---"], ["# h", "--- # d"], ["", "", ""])
FOOTS = ([], [], [], ["..."], ["# foot"], ["", "# foot", ""], ["...", "# x"], ["---"])
PIECES = (
    "\n", "\n\n\n", " ", "  ", "\t", "#x", " # c", "\n# c\n", "\n    # c\n", "'", '"', ":", ": ", "- ", "|+\n",
    "{", "}", "[", "]", ",", "\r", "\r\n", "&a ", "*a", "? ", "!!str ", "---\n", "...\n", "é", "x" * 60, "\\",
)  # fmt: skip


class Rough:
    """Writes texts; the same chance, the same texts."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.number = 0

    def text(self) -> str:
        one = self.chance.choice
        body = self._mapping(one(["", "", "", "", "  "]), 3) if self.chance.random() < 0.95 else [self._flow(3)]
        text = "\n".join([*one(HEADS), *body, *one(FOOTS)]) + one(["\n", "\n", "\n", "", "\n\n\n", " "])
        text = text.replace("\n", one(["\n"] * 20 + ["\r\n", "\r"]))
        return one([""] * 30 + ["\ufeff"]) + text

    def spoiled(self, text: str) -> str:
        """A text with a few pieces put in, lines moved, and lines deeper."""
        for _ in range(self.chance.randint(1, 4)):
            lines = text.split("\n")
            at = self.chance.randrange(len(lines))
            what = self.chance.random()
            if what < 0.6:
                begin = self.chance.randrange(len(text) + 1)
                text = text[:begin] + self.chance.choice(PIECES) + text[begin:]
                continue
            if what < 0.8:
                lines[at] += self.chance.choice(["  # c", "   ", "\t", " #"])
            else:
                lines[at : at + 5] = ["  " + each for each in lines[at : at + 5]]
            text = "\n".join(lines)
        return text

    def _key(self) -> str:
        self.number += 1
        name = f"k{self.number}"
        odd = [
            f'"{name}"',
            f"'k {self.number}'",
            str(500 + self.number),
            f"{name} é",
            f"&{name} {name}",
            f"!!str {name}",
        ]
        return self.chance.choice([name] * 8 + odd)

    def _comment(self) -> str:
        return self.chance.choice([""] * 16 + ["  # c", " #c", "     # aligned", "\t# t"])

    def _between(self, indent: str) -> list[str]:
        places = ["", " ", "#c", indent + "# i", "  " + indent + "# d", " # one", indent + "    # dd", "\t"]
        return [self.chance.choice(places)] if self.chance.random() < 0.3 else []

    def _mapping(self, indent: str, depth: int) -> list[str]:
        lines: list[str] = []
        for _ in range(self.chance.choice([1, 1, 2, 3, 4])):
            lines += self._between(indent)
            head, below = self._value(indent, depth)
            if self.chance.random() < 0.05:
                lines += [f"{indent}? {self._key()}", f"{indent}:{head}", *below]
            else:
                lines += [f"{indent}{self._key()}{self.chance.choice(['', '', ' '])}:{head}", *below]
        return lines + self._between(indent)

    def _list(self, indent: str, depth: int) -> list[str]:
        lines: list[str] = []
        for _ in range(self.chance.choice([1, 2, 3])):
            lines += self._between(indent)
            gap = self.chance.choice([" ", " ", "   "])
            inner = self._mapping(f"{indent} {gap}", depth - 1) if depth > 0 and self.chance.random() < 0.4 else []
            while inner and inner[0].strip()[:1] in ("", "#"):
                inner.pop(0)
            if inner:
                lines += [f"{indent}-{gap}{inner[0].lstrip()}", *inner[1:]]
            else:
                head, below = self._value(indent, depth)
                lines += [f"{indent}-{head}", *below]
        return lines

    def _value(self, indent: str, depth: int) -> tuple[str, Sequence[str]]:
        """What stands behind a colon or dash, and the lines below it."""
        what = self.chance.random()
        if depth <= 0 or what < 0.35:
            scalar = self.chance.choice(SCALARS).replace("\n", f"\n{indent} ")
            return " " * self.chance.choice([1, 1, 5]) + scalar + self._comment(), []
        if what < 0.5:
            return f" {self._flow(2)}{self._comment()}", []
        if what < 0.65:
            return self._block(indent)
        anchor = self.chance.choice([""] * 6 + [f" &n{self.number}"])
        below = indent + " " * self.chance.choice([1, 2, 2, 2, 3, 4, 8])
        if what < 0.85:
            return anchor + self._comment(), self._mapping(below, depth - 1)
        return anchor + self._comment(), self._list(self.chance.choice([indent, below]), depth - 1)

    def _block(self, indent: str) -> tuple[str, Sequence[str]]:
        header = self.chance.choice(HEADERS)
        said = re.search(r"\d", header.partition("#")[0])
        margin = " " * (len(indent) + (int(said[0]) if said else self.chance.choice([1, 2, 2, 3, 4])))
        texts = [self.chance.choice(LINES) for _ in range(self.chance.choice([0, 1, 2, 3, 4]))]
        if texts and not said:
            texts[0] = texts[0].lstrip() or "t"
        empty = " " * self.chance.randint(0, len(margin))
        return f" {header}", [margin + each if each else empty for each in texts]

    def _flow(self, depth: int) -> str:
        one = self.chance.choice
        what = self.chance.random()
        if depth <= 0 or what < 0.4:
            return one([each for each in SCALARS if "\n" not in each])
        end = one(["", "", "", "", " ", "\n      ", "  # fc\n      ", "\n\n        ", "\n# z\n      "])
        inner = [self._flow(depth - 1) for _ in range(one([0, 1, 2, 3, 3, 8]))]
        if what < 0.7:
            return f"[{end}{f',{end}'.join(inner)}{one(['', ',']) if inner else ''}{end}]"
        shape = one(["{}: {}", "{} : {}", "{}:  {}", '"{}":{}', "? {} : {}", "?{}: {}"])
        return "{" + end + f",{end}".join(shape.format(f"f{at}", each) for at, each in enumerate(inner)) + end + "}"
