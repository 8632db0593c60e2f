"""wizard explain: the story of a recorded run, or a page on a code, a kind, a policy, strategy, provider or step."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from click.shell_completion import CompletionItem

from wizard_dsl.cli._explained_case import MARK, explained_case
from wizard_dsl.cli._history import could_be_run, earlier, place_option, recorded
from wizard_dsl.cli._output import as_json, columns, format_option
from wizard_dsl.cli._pages import pages, text_of, words
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.observe.history_past import asks_for_past, past_of
from wizard_dsl.observe.story import tell
from wizard_dsl.spec.diagnostics import did_you_mean


def _words(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Completes what has a page; FILE::TEST begins with a file."""
    names = [name for rows in words(registry_of()).values() for name, _ in rows]
    found = [CompletionItem(name) for name in names if name.lower().startswith(typed.lower())]
    return found or [CompletionItem(typed, type="file")]


@click.command("explain", short_help="Explain a run, a diagnostic, an error kind, a policy or a strategy.")
@click.argument("word", required=False, shell_complete=_words)
@place_option
@format_option("text", "json")
def command(word: str | None, place: Path, form: str) -> int:
    """Explain WORD: a code such as E021, an error kind such as rate_limited, a policy, strategy, provider or step. Or
    tell the story of a recorded run, by its id, the beginning of it, or `last`, or of a test, as FILE::TEST.

    Without WORD, list everything that has a page.
    """
    registry = registry_of()
    if word is not None and MARK in word:
        click.echo(explained_case(word, form), nl=False)
        return 0
    if word is None:
        everything = words(registry)
        click.echo(as_json(everything) if form == "json" else _listed(everything), nl=False)
        return 0
    found = pages(word, registry)
    if not found and could_be_run(word):
        return _run(word, place, form)
    if not found:
        raise _unknown(word, words(registry))
    if form == "json":
        click.echo(as_json([{key: value for key, value in page.items() if key != "page"} for page in found]), nl=False)
    else:
        click.echo(f"\n{'-' * 80}\n\n".join(text_of(page) for page in found), nl=False)
    return 0


def _run(word: str, place: Path, form: str) -> int:
    stored = recorded(word, place)
    past = past_of(stored, earlier(stored, place)) if asks_for_past(stored) else None
    told = tell(stored.result, stored.transcript(), past)
    click.echo(as_json(msgspec.to_builtins(told)) if form == "json" else f"{told.render()}\n", nl=False)
    return 0


def _listed(everything: dict[str, list[tuple[str, str]]]) -> str:
    return "\n".join(f"{group}\n{columns(rows)}" for group, rows in everything.items() if rows)


def _unknown(word: str, everything: dict[str, list[tuple[str, str]]]) -> click.UsageError:
    names = [name for rows in everything.values() for name, _ in rows]
    near = did_you_mean(word, names) or did_you_mean(word.upper(), names)
    hint = f"did you mean '{near}'?" if near else "`wizard explain` lists everything that has a page"
    return click.UsageError(f"there is no page about '{word[:60]}'; {hint}")
