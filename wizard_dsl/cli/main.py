"""The entry point: a group of lazy verbs, and what every failure turns into.

Exit codes: 0 done · 1 findings · 2 wrong usage · 3 invalid file or configuration · 4 authentication · 5 providers
failed · 6 refused by a limit · 7 output not as declared · 8 deadline · 130 interrupted · 70 a bug in wizard.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import ModuleType

    import click
    from click.shell_completion import CompletionItem

#: verb → (module, short help): `--help` prints the table without importing any verb.
VERBS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run a pipeline file."),
    "validate": ("validate", "Every diagnostic of files and folders, offline."),
    "test": ("test", "Run test files, offline and in virtual time."),
    "plan": ("plan", "What a run can need in the worst case: attempts, latency, cost."),
    "simulate": ("simulate", "Play a scenario of load and outages in virtual time."),
    "prove": ("prove", "Try the invariants of a file over all sequences of faults."),
    "check": ("check", "Validate, and look at the environment the file refers to."),
    "echo": ("echo", "Print the resolved file with the origin of every value."),
    "diff": ("diff", "What changes in behaviour between two files or revisions."),
    "review": ("review", "A pull request as one comment."),
    "compare": ("compare", "Two chains side by side: outputs, cost, latency."),
    "graph": ("graph", "Draw the executor graph."),
    "fmt": ("fmt", "Write files in the usual layout."),
    "migrate": ("migrate", "Bring files to the latest version of the format."),
    "completion": ("completion", "Print what makes a shell complete commands and names."),
    "schema": ("schema", "Print the JSON Schema of pipeline files."),
    "explain": ("explain", "Explain a run, a diagnostic, an error kind, a policy or a strategy."),
    "cache": ("cache", "Look at, clear and warm the caches on disk."),
    "cassette": ("cassette", "Look at recorded exchanges, and take an edit by hand over."),
    "repro": ("repro", "Write a recorded run as a test file."),
    "eval": ("eval", "The value of an expression about a recorded run."),
    "history": ("history", "The runs that a project recorded."),
    "cost": ("cost", "What the budgets of a project have spent."),
    "config": ("config", "Show the configuration and where it comes from."),
    "doctor": ("doctor", "Look at this installation."),
    "import": ("import_", "Turn another tool's configuration into a pipeline file."),
    "init": ("init", "Begin a project here."),
    "new": ("new", "Write a pipeline, a policy or a provider to start from."),
}
ALIASES = {"lint": "validate"}
UNWRITABLE = 2
#: The place that the output goes to is at fault.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
#: New objects after which garbage is looked for.
_YOUNG = 10_000
BUG = 70
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(_guarded(sys.argv[1:] if argv is None else argv))


def _guarded(arguments: list[str]) -> int:
    """The exit code. Whatever happens to the streams, and whenever the user interrupts: no traceback unasked."""
    debug = "--debug" in arguments
    try:
        _mend_streams()
        code = _told([each for each in arguments if each != "--debug"], debug)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _silenced()
    except OSError as error:
        if error.errno in _NO_ROOM:
            return _unwritable(error)
        if debug:
            raise
        return _bug(error)


def _mend_streams() -> None:
    """A stream that was closed before us swallows what is written; a character the encoding lacks becomes an escape."""
    import os

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open for good
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _told(arguments: list[str], debug: bool) -> int:
    """The exit code; errors are told on stderr, a bug with a report to paste."""
    if arguments in (["--version"], ["-V"]):
        from wizard_dsl import __version__

        print(f"wizard {__version__}")
        return 0
    _import("click")
    _import("wizard_dsl.core.errors")
    import click

    from wizard_dsl.core.errors import WizardError

    try:
        code = make_group().main(args=arguments, prog_name="wizard", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except SystemExit:
        return _silenced()  # click's own answer to a closed pipe: 1, which says "findings" here
    except OSError:
        raise
    except Exception as error:
        if debug:
            raise
        return tell(error) if isinstance(error, WizardError) else _bug(error)


def tell(error: Any) -> int:
    """Say on stderr what is wrong and what to do; returns the exit code of the error's kind."""
    from wizard_dsl.core.errors import SpecError

    if isinstance(error, SpecError) and error.diagnostics:
        print(error.message.rstrip("\n"), file=sys.stderr)
        return int(error.exit_code)
    where = f" ({error.where})" if error.where else ""
    print(f"error[{error.kind}]: {error.message}{where}", file=sys.stderr)
    if error.suggestion:
        print(f"  {error.suggestion}", file=sys.stderr)
    if error.retry_after is not None:
        print(f"  try again in {_rounded(error.retry_after)}", file=sys.stderr)
    return int(error.exit_code)


def _rounded(seconds: float) -> str:
    """A wait as somebody would say it, never shorter than it is: to the second above ten."""
    from math import ceil

    from wizard_dsl.core.units import show_duration

    return show_duration(ceil(seconds) if seconds > 10 else ceil(seconds * 10) / 10)


def _unwritable(error: OSError) -> int:
    with contextlib.suppress(OSError):
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
    _silenced()
    return UNWRITABLE


def _silenced() -> int:
    """A reader went away: let what is still buffered go nowhere, or the interpreter complains on its way out."""
    import os

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return 0


def _bug(error: Exception) -> int:
    import platform

    from wizard_dsl import __version__

    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"  {code.co_filename.rsplit('/site-packages/')[-1]}:{trace.tb_lineno} {code.co_qualname}")
        trace = trace.tb_next
    print(
        "This is a bug in wizard. Please report it with these lines (they hold no prompt and no key):\n"
        f"  wizard {__version__}, Python {platform.python_version()}, {platform.system()}\n"
        f"  {type(error).__name__}\n" + "\n".join(frames[-8:]) + "\n"
        "Run again with --debug to see the whole traceback.",
        file=sys.stderr,
    )
    return BUG


def verbs_like(typed: str) -> list[CompletionItem]:
    """The verbs that begin so, with their helps; click would import each of them for that."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(typed)]


def _import(module: str) -> ModuleType:
    """A module. What importing makes is there to stay: no garbage is looked for in it, neither meanwhile nor later,
    which would take a tenth of a short verb's time; nor then after every few objects that the verb makes."""
    from importlib import import_module

    if module in sys.modules or not gc.isenabled():
        return import_module(module)
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(_YOUNG)


def make_group() -> click.Group:
    """The group of all verbs, each imported when it is used."""
    import click

    class Verbs(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(VERBS)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            verb = ALIASES.get(name, name)
            return _import(f"wizard_dsl.cli.{VERBS[verb][0]}").command if verb in VERBS else None

        def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
            return verbs_like(incomplete) or super().shell_complete(ctx, incomplete)

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            if args and self.get_command(ctx, args[0]) is None:
                import difflib

                near = difflib.get_close_matches(args[0], [*VERBS, *ALIASES], n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise click.UsageError(f"there is no command '{args[0]}'{hint}", ctx)
            return super().resolve_command(ctx, args)

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    @click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(package_name="wizard-dsl", prog_name="wizard", message="%(prog)s %(version)s")
    def wizard() -> None:
        """LLM pipelines as reviewed YAML: compiled, with a real policy engine.

        Add --debug to any command to see the traceback of an error.
        """

    return wizard
