"""Policy coverage on the command line: what is asked for, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wizard_dsl.core.units import parse_ratio
from wizard_dsl.testing.trying import Outcome

if TYPE_CHECKING:
    from wizard_dsl.testing.coverage import FileCoverage


class Wanted(msgspec.Struct, frozen=True):
    """What the options ask for. `least` is a share, from 0 to 1, that must be covered."""

    text: bool = False
    html: Path | None = None
    least: float | None = None

    @property
    def observer(self) -> str | None:
        """What looks at each case, as `How` wants it; None where nobody wants to know."""
        wanted = self.text or self.html is not None or self.least is not None
        return "wizard_dsl.testing.coverage:observe" if wanted else None

    def measure(self, outcomes: Sequence[Outcome]) -> tuple[FileCoverage, ...] | None:
        """The coverage of each file that the cases were about, written where that is asked for. Raises UsageError where
        it cannot be."""
        if self.observer is None:
            return None
        from wizard_dsl.testing.coverage import Observed, measure

        files = measure(msgspec.convert(each, Observed) for outcome in outcomes for each in outcome.seen)
        if self.html is not None:
            from wizard_dsl.testing.coverage_html import as_html

            try:
                self.html.write_text(as_html(files, Path.cwd()), encoding="utf-8")
            except OSError as error:
                raise click.UsageError(f"cannot write {self.html}: {error.strerror}") from None
        return files

    def is_enough(self, files: Sequence[FileCoverage] | None) -> bool:
        """Whether as much is covered as was asked for; says so where it is not."""
        if self.least is None or files is None:
            return True
        from wizard_dsl.testing.coverage import total

        if (share := total(files)).ratio >= self.least:
            return True
        click.echo(f"policy coverage is below {self.least * 100:g}%: {share}", err=True)
        return False


def _share(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        least = parse_ratio(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if least > 1:
        raise click.BadParameter(f"{text} is more than all there is; write at most 100%")
    return least


def coverage_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options, handed to the command as `wanted`."""

    @click.option("--coverage", is_flag=True, help="Tell which outcomes of the policies no test made happen.")
    @click.option(
        "--coverage-html",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write the coverage as a page of HTML, one file that needs nothing else.",
    )
    @click.option(
        "--fail-under", callback=_share, metavar="SHARE", help="Exit with 1 where less is covered, such as 95%."
    )
    @wraps(command)
    def asked(*args: Any, coverage: bool, coverage_html: Path | None, fail_under: float | None, **rest: Any) -> int:
        return command(*args, wanted=Wanted(coverage, coverage_html, fail_under), **rest)

    return asked
