"""`wizard run`: inputs, outputs, exit codes, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from interrupt_kit import started

from wizard_dsl.cli.main import _guarded, tell
from wizard_dsl.core.errors import RateLimitExceeded

ROOT = Path(__file__).parents[2]
WIZARD = Path(sys.executable).with_name("wizard")
FILE = """
version: 1
inputs:
  q: {type: string, description: the question}
  n: {type: integer, default: 1}
providers: {m: {type: mock, reply: "one two three", latency: 1s}}
chains: {default: {targets: [m]}, other: {targets: [m/else]}}
steps: {answer: {prompt: {user: "{{ q }} {{ n }}"}}}
"""


def wizard(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **(env or {})}
    return subprocess.run(
        [WIZARD, *arguments], input=stdin, capture_output=True, text=True, env=clean, timeout=60, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "case.yaml"
    path.write_text(FILE)
    return str(path)


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    """In this process, where that is enough."""
    import click

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def entry(words: tuple[str, ...]) -> None:
        raise SystemExit(_guarded(list(words)))

    return CliRunner().invoke(entry, list(arguments), input=stdin)


def test_the_text_goes_to_stdout_and_nothing_else_does(file: str) -> None:
    done = invoke("run", file, "--mock", "-i", "q=hi")
    assert done.exit_code == 0
    assert done.stdout == "one two three\n"
    assert done.stderr == ""


def test_json_is_one_line_and_the_same_bytes_for_the_same_seed(file: str) -> None:
    runs = [invoke("run", file, "--mock", "--seed", "7", "--format", "json", "-i", "q=hi").stdout for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].count("\n") == 1
    result = json.loads(runs[0])
    assert result["ok"] is True
    assert result["elapsed"] == 1.0


def test_a_streamed_answer_is_printed_and_ends_with_a_newline(file: str) -> None:
    assert invoke("run", file, "--mock", "--stream", "-i", "q=hi").stdout == "one two three\n"


def test_stdin_is_the_only_required_input(file: str) -> None:
    done = invoke("run", file, "--mock", "--dry-run", "--format", "json", stdin="from a pipe\n")
    assert json.loads(done.stdout)["calls"][0]["messages"][0]["content"] == "from a pipe 1"


def test_inputs_from_files_and_typed_by_their_schema(file: str, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("from a file")
    (tmp_path / "in.yaml").write_text("n: 5\nq: lost\n")
    done = invoke(
        "run", file, "--mock", "--dry-run", "--format", "json",
        "--input-file", str(tmp_path / "in.yaml"), "-i", f"q=@{tmp_path / 'q.txt'}", "-i", "n=3",
    )  # fmt: skip
    assert json.loads(done.stdout)["calls"][0]["messages"][0]["content"] == "from a file 3"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "input 'q' is missing (the question)"),
        (["-i", "q=1", "-i", "n=x"], 2, "input 'n' is not as declared"),
        (["-i", "q=1", "-i", "m=2"], 2, "there is no input 'm'"),
        (["-i", "nonsense"], 2, "'nonsense' is no input"),
        (["-i", "q=@/does/not/exist"], 2, "cannot read /does/not/exist"),
        (["-i", "q=1", "--deadline", "5"], 2, "is not a duration"),
        (["-i", "q=1", "--deadline", "500ms"], 8, "error[deadline]"),
        (["-i", "q=1", "--chain", "nobody"], 3, "there is no chain 'nobody'"),
        (["-i", "q=1", "--set", "chains.default.policies.retry.max_attempt=3"], 3, "unknown key 'max_attempt'"),
        (["-i", "q=1", "--no-such-option"], 2, "No such option"),
    ],
)
def test_each_mistake_has_its_exit_code_and_says_what_is_wrong(
    file: str, arguments: list[str], code: int, says: str
) -> None:
    done = invoke("run", file, "--mock", *arguments)
    assert says in done.stderr
    assert done.exit_code == code
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(401, "auth", 4), (503, "server", 5), (429, "rate_limited", 5), (400, "invalid_request", 5)],
)
def test_a_failed_provider_lists_its_attempts(tmp_path: Path, status: int, kind: str, code: int) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(FILE.replace('reply: "one two three", latency: 1s', f"error_rate: 100%, status: {status}"))
    done = invoke("run", str(path), "--mock", "-i", "q=hi")
    assert done.exit_code == code, done.stderr
    assert f"error[{kind}]" in done.stderr
    assert f"m {status} {kind}" in done.stderr
    as_json = invoke("run", str(path), "--mock", "-i", "q=hi", "--format", "json")
    result = json.loads(as_json.stdout)
    assert result["ok"] is False
    assert result["error"]["kind"] == kind
    assert result["attempts"]


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "100ms"), (1.25, "1.3s"), (12.2, "13s"), (84213.7, "23h23m34s")])
def test_when_to_try_again_is_said_in_words_and_never_too_early(
    seconds: float, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(RateLimitExceeded("no", limit="rate_limit", retry_after=seconds)) == 6
    assert f"try again in {words}\n" in capsys.readouterr().err


def test_another_chain_can_be_asked(file: str) -> None:
    done = invoke("run", file, "--mock", "--format", "json", "-i", "q=hi", "--chain", "other")
    assert json.loads(done.stdout)["served_by"] == "m/else"


def test_the_transcript_goes_to_stderr(file: str) -> None:
    done = invoke("run", file, "--mock", "--transcript", "-i", "q=hi")
    assert done.stdout == "one two three\n"
    assert "attempt 1" in done.stderr


def test_a_file_that_is_not_there_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        done = invoke("run", str(path))
        assert done.exit_code == 3
        assert "error[E00" in done.stderr


def test_logs_are_json_lines_on_stderr_without_the_prompt(file: str) -> None:
    done = invoke(
        "run", file, "--mock", "-i", "q=a secret question",
        "--set", "observe.log.level=DEBUG", "--set", "observe.log.format=json",
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len({line["run_id"] for line in lines}) == 1
    assert {"request_started", "request_completed"} <= {line["event"] for line in lines}
    assert "secret question" not in done.stderr


def test_an_unknown_verb_is_told_with_a_suggestion() -> None:
    done = invoke("rnu")
    assert done.exit_code == 2
    assert "did you mean 'run'" in done.stderr


def test_version_and_help_name_the_verbs() -> None:
    assert wizard("--version").stdout.startswith("wizard 0.")
    shown = wizard("--help").stdout
    assert all(verb in shown for verb in ("run", "validate", "explain", "doctor"))


@pytest.mark.server
def test_ctrl_c_closes_the_upstream_connection_prints_the_partial_and_exits_130(tmp_path: Path) -> None:
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    closed = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        delta = b'data: {"choices":[{"index":0,"delta":{"content":"first words"},"finish_reason":null}]}\n\n'
        connection.sendall(head + delta)
        connection.settimeout(90)
        try:
            if connection.recv(1) == b"":
                closed.set()
        except ConnectionError:
            closed.set()
        connection.close()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    path = tmp_path / "case.yaml"
    path.write_text(
        f"""
version: 1
providers: {{p: {{type: openai_compatible, base_url: "http://127.0.0.1:{listener.getsockname()[1]}/v1", model: m}}}}
chains: {{default: {{targets: [p]}}}}
steps: {{answer: {{prompt: {{user: hi}}}}}}
"""
    )
    process = started(
        [WIZARD, "run", str(path), "--stream"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.read(11) == b"first words"
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=90)
    listener.close()
    assert process.returncode == 130, errors.decode()
    assert rest == b"\n"
    assert b"Traceback" not in errors
    assert closed.wait(60)


def test_a_dry_run_needs_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keyed.yaml"
    path.write_text(FILE.replace('{m: {type: mock, reply: "one two three", latency: 1s}}', KEYED))
    done = wizard("run", str(path), "--dry-run", "-i", "q=hi")
    assert (done.returncode, done.stderr) == (0, "")
    assert "answer → m" in done.stdout
    assert wizard("run", str(path), "-i", "q=hi").returncode == 3


KEYED = '{m: {type: openai, model: gpt-4o-mini, api_key: "${env:ABSENT_KEY}"}}'


@pytest.mark.parametrize("ignored", [
    ("--format", "json", "--stream"), ("--format", "json", "--reasoning"), ("--no-stream", "--reasoning"),
])  # fmt: skip
def test_options_that_would_be_ignored_are_refused(file: str, ignored: tuple[str, ...]) -> None:
    done = invoke("run", file, "--mock", "-i", "q=hi", *ignored)
    assert done.exit_code == 2
    assert "leave out" in done.stderr
