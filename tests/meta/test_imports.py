"""What starting costs: heavy libraries are imported where they are used, and asyncio only by what runs programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wizard_dsl"
HEAVY = ("aiohttp", "jsonschema", "loguru", "limits", "diskcache", "pybreaker", "genai_prices")

#: Modules that run programs, and so may import asyncio, with the reason. Entries that are no longer needed fail.
MAY_IMPORT_ASYNCIO = {
    "wizard_dsl.core.guard": "cancels the current task",
    "wizard_dsl.core.attempt": "arms a guard around the provider",
    "wizard_dsl.providers._aiohttp": "the transport itself",
    "wizard_dsl.providers._direct": "speaks with the connections of aiohttp, which does",
}

VALID = """\
version: 1
name: answer
inputs:
  question: {type: string, minLength: 1}
providers:
  openai: {type: openai, api_key: "${env:OPENAI_API_KEY}"}
chains:
  default:
    targets: [openai/gpt-4o-mini]
    policies:
      cache: {ttl: 1h, store: disk}
      rate_limit: {windows: [60/minute]}
      retry: {max_attempts: 2}
steps:
  answer:
    prompt: {system: Answer briefly., user: "{{ question }}"}
    output: {schema: {type: object, required: [a]}}
"""


def run(program: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "WIZARD_PLUGINS": "", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def imported(program: str, *arguments: str, cwd: Path = ROOT) -> set[str]:
    """The top-level modules in memory after a program, which may exit with 0."""
    whole = (
        f"import sys\ntry:\n    {program}\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = run(whole, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_the_package_imports_nothing_else() -> None:
    assert imported("import wizard_dsl") & {*HEAVY, "jinja2", "yaml", "msgspec", "asyncio", "click"} == set()


def test_the_version_is_told_without_any_library() -> None:
    told = imported("from wizard_dsl.cli.main import main; main(['--version'])")
    assert told & {*HEAVY, "jinja2", "yaml", "msgspec", "asyncio", "click"} == set()


def test_the_overview_of_verbs_imports_none_of_them() -> None:
    found = imported("from wizard_dsl.cli.main import main; main(['--help'])")
    assert found & {*HEAVY, "jinja2", "yaml", "asyncio"} == set()


def test_validating_a_valid_file_imports_no_heavy_library(tmp_path: Path) -> None:
    (tmp_path / "answer.yaml").write_text(VALID)
    found = imported("from wizard_dsl.cli.main import main; main(['validate', 'answer.yaml'])", cwd=tmp_path)
    assert "yaml" in found, "the file was not even read"
    assert found & {*HEAVY, "asyncio", "ssl", "email", "multiprocessing"} == set()


def test_validating_many_files_imports_no_heavy_library_in_any_process(tmp_path: Path) -> None:
    """The workers begin as copies of the one that asks, so what they hold when they end is all that was imported."""
    for number in range(60):
        (tmp_path / f"p{number}.yaml").write_text(VALID)
    program = (
        "import os, sys\n"
        "from wizard_dsl.cli import _looking_at_once as many\n"
        "from wizard_dsl.cli._files import find\n"
        "from wizard_dsl.registry import Registry\n"
        "from pathlib import Path\n"
        "share = many._share\n"
        "def told(files, looker):\n"
        "    found = share(files, looker)\n"
        "    modules = {name.partition('.')[0] for name in sys.modules}\n"
        "    files[0][0].with_suffix('.told').write_text(' '.join([str(os.getpid()), str(len(files)), *modules]))\n"
        "    return found\n"
        "many._share, many._cores = told, lambda: 2\n"
        "assert many.look(find([Path()]).files, Registry(plugins=False), plugins=False) == []\n"
        "print(os.getpid())"
    )
    done = run(program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = [path.read_text().split() for path in tmp_path.glob("*.told")]
    assert sum(int(files) for _, files, *_ in told) == 60
    assert done.stdout.strip() not in {worker for worker, *_ in told}
    for _, _, *found in told:
        assert {"wizard_dsl", "yaml"} <= set(found) and set(HEAVY) & set(found) == set()


BROKEN = """\
version: 1
pipeline: answer.yaml
defaults: {env: {OPENAI_API_KEY: test}, inputs: {question: Why?}}
tests:
  the breaker opens:
    set: {chains.default.policies.circuit_breaker: 1}
    targets: {"*": [{status: 503, times: forever}]}
    expect: {error: server, breakers: {"*": open}}
"""


def test_a_test_of_an_outage_imports_no_heavy_library(tmp_path: Path) -> None:
    """Nor pybreaker, although a breaker opens: that would import redis, where it is installed. Prices are looked up by
    the library the first time, and remembered."""
    (tmp_path / "answer.yaml").write_text(VALID.partition("    output:")[0])
    (tmp_path / "answer.test.yaml").write_text(BROKEN)
    found = imported("from wizard_dsl.cli.main import main; main(['test'])", cwd=tmp_path)
    assert "asyncio" in found, "no test was run"
    assert found & {*HEAVY, "redis"} <= {"genai_prices"}


PLAIN = """\
version: 1
name: answer
inputs:
  question: {type: string, minLength: 1}
providers:
  openai: {type: openai, api_key: "${env:OPENAI_API_KEY}"}
chains:
  default: {targets: [openai/gpt-4o-mini]}
steps:
  answer:
    prompt: {system: Answer briefly., user: "{{ question }}"}
"""

#: What a test of a plain file has no use for: templates with more than names, tapes, servers, files of SQLite, shared
#: state, words for mistakes.
UNUSED = (
    "email",
    "sqlite3",
    "difflib",
    "html",
    "jinja2",
    "wizard_dsl.testing.cassettes",
    "wizard_dsl.testing._cassette",
    "wizard_dsl.stores.disk",
    "wizard_dsl.stores._redis",
    "wizard_dsl.stores._book_",
    "wizard_dsl.stores._state",
    "wizard_dsl.policies._shared_",
    "wizard_dsl.policies._leases",
    "wizard_dsl.policies.rate_limit",
    "wizard_dsl.policies.admission",
    "wizard_dsl.spec.codes",
    "wizard_dsl.spec.schema_errors",
)


def test_a_test_of_a_plain_file_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    (tmp_path / "answer.yaml").write_text(PLAIN)
    (tmp_path / "answer.test.yaml").write_text(BROKEN)
    program = (
        "import sys\nfrom wizard_dsl.cli.main import main\n"
        "try:\n    main(['test'])\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        "print('MODULES', *sorted(sys.modules))"
    )
    run(program, cwd=tmp_path)  # asks the price library, if nobody did yet; the second time its answers are known
    done = run(program, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = done.stdout.splitlines()[-1].split()
    assert "wizard_dsl.policies.circuit_breaker" in found
    assert [each for each in found if each.startswith(UNUSED)] == []


def test_garbage_is_looked_for_where_a_program_runs_but_not_in_what_is_imported(tmp_path: Path) -> None:
    (tmp_path / "answer.yaml").write_text(VALID)
    program = (
        "import gc, sys\nfrom wizard_dsl.cli.main import main\n"
        "looks = lambda: sum(each['collections'] for each in gc.get_stats())\n"
        "before = looks()\n"
        "try:\n    main(['validate', 'answer.yaml'])\nexcept SystemExit:\n    pass\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000, looks() - before)"
    )
    enabled, frozen, looked = run(program, cwd=tmp_path).stdout.splitlines()[-1].split()
    assert (enabled, frozen) == ("True", "True")
    assert int(looked) < 5, "it was looked for while modules were imported, or after every few objects"


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        (["validate", "answer.yaml"], ["testing", "analysis", "runtime", "observe", "stores"]),
        (["run", "answer.yaml", "--mock", "-i", "question=x"], ["analysis", "testing.cassettes", "testing.cases"]),
        (["test", "answer.test.yaml"], ["analysis", "lint", "testing.coverage", "testing.recording"]),
    ],
)
def test_what_a_verb_does_not_do_this_time_is_not_imported(
    tmp_path: Path, arguments: list[str], without: list[str]
) -> None:
    (tmp_path / "answer.yaml").write_text(VALID)
    (tmp_path / "answer.test.yaml").write_text(BROKEN)
    program = (
        "import sys\nfrom wizard_dsl.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        "print('MODULES', *sorted(sys.modules))"
    )
    done = run(program, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()[-1].split()
    assert "wizard_dsl.compiler.compile" in found
    assert [each for each in found if any(each.startswith(f"wizard_dsl.{name}") for name in without)] == []


def modules(*packages: str) -> list[str]:
    paths = sorted(path for package in packages for path in (PACKAGE / package).glob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.stem != "__init__"]


def test_no_component_imports_asyncio_at_module_level() -> None:
    """All of them in one process, one after the other: the first that brings asyncio in is named."""
    wanted = [each for each in modules("core", "policies", "strategies", "providers") if each not in MAY_IMPORT_ASYNCIO]
    assert len(wanted) > 40
    program = (
        "import sys\nfrom importlib import import_module\n"
        "for name in sys.argv[1:]:\n"
        "    import_module(name)\n"
        "    assert 'asyncio' not in sys.modules, f'{name} imports asyncio'\n"
    )
    done = run(program, *wanted)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", MAY_IMPORT_ASYNCIO)
def test_an_exception_that_is_no_longer_needed_goes(name: str) -> None:
    assert "asyncio" in imported(f"import {name}"), f"{name} needs no entry in MAY_IMPORT_ASYNCIO any more"
