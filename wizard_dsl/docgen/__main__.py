"""Write the generated files into the working directory, or with `--check` fail where one is not up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from wizard_dsl.docgen import outdated, pages, write
from wizard_dsl.registry import Registry


def main(arguments: list[str]) -> int:
    """0 done, 1 with `--check` where something is not up to date, 2 wrong usage."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m wizard_dsl.docgen [--check]\n")
        return 2
    root, registry = Path.cwd(), Registry(plugins=False)
    if not (root / "wizard_dsl").is_dir():
        sys.stderr.write("run this in the root of the repository\n")
        return 2
    if not arguments:
        sys.stdout.write("".join(f"wrote {name}\n" for name in write(root, registry)))
        return 0
    wrong = [f"{name} is not up to date; run `make gen` and commit it" for name in outdated(root, registry)]
    wrong += pages.faults(root, registry)
    sys.stderr.write("".join(f"{sentence}\n" for sentence in wrong))
    sys.stdout.write("" if wrong else "all generated files are up to date\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
