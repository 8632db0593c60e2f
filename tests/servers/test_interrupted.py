"""Ctrl-C in a real process, wherever it waits: it exits with 130, and leaves nothing behind."""

from __future__ import annotations

import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from interrupt_kit import started

Begin = Callable[[Path], subprocess.Popen[str]]
pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
#: Seconds that nothing takes, however busy the machine is.
LONG = 30
ANSWER = b'{"choices":[{"index":0,"message":{"content":"fine"},"finish_reason":"stop"}]}'
HEAD = """\
version: 1
name: interrupted
state: state.db
budgets: {day: $10}
inputs: {parts: {type: array, items: {type: string}, default: [one, two]}}
providers:
"""
PROVIDER = """\
  NAME:
    type: openai_compatible
    base_url: "URL/v1"
    model: NAME
    models: {NAME: {max_output: 50, prices: {input: $1, output: $1}}}
"""


class Server(ThreadingHTTPServer):
    """`answers` says what the next requests to a model get: a status, or `hang`, as do those that it does not name.
    `seen` and `gone` get the model of each request that came, and of each that hung and was given up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Any]] = {}
        self.seen = queue.Queue[str]()
        self.gone = queue.Queue[str]()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = msgspec.json.decode(self.rfile.read(int(self.headers["content-length"])))
        model = body["model"]
        answers = self.server.answers.get(model)
        status = answers.pop(0) if answers else "hang"
        if status == "hang":
            self.server.seen.put(model)
            self._hang(model)
            return
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)
        self.server.seen.put(model)

    def _hang(self, model: str) -> None:
        self.connection.settimeout(LONG)
        try:
            lost = self.connection.recv(1) == b""
        except ConnectionError:
            lost = True
        if lost:
            self.server.gone.put(model)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def written(folder: Path, server: Server, chain: str, steps: str) -> Path:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    providers = "".join(PROVIDER.replace("NAME", name).replace("URL", url) for name in ("near", "far"))
    path = folder / "case.yaml"
    path.write_text(f"{HEAD}{providers}chains: {{default: {chain}}}\nsteps: {steps}\n")
    return path


@pytest.fixture
def begun() -> Iterator[Begin]:
    """Begins the run of a file, in a group of processes of its own."""
    made: list[subprocess.Popen[str]] = []

    def begin(path: Path) -> subprocess.Popen[str]:
        process = started(
            [sys.executable, "-m", "wizard_dsl.cli", "run", str(path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=path.parent,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(path.parent), "WIZARD_PLUGINS": ""},
            start_new_session=True,
        )  # fmt: skip
        made.append(process)
        return process

    yield begin
    for each in made:
        with each:
            each.kill()


def next_of(events: queue.Queue[str], count: int) -> list[str]:
    return sorted(events.get(timeout=LONG) for _ in range(count))


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C, and see it end as it should."""
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=LONG)
    assert process.returncode == 130, told
    assert out.strip() == "" and "Traceback" not in told
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # and no child of it lives on


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The shared states of this kind."""
    with sqlite3.connect(folder / "state.db") as database:
        found = database.execute("SELECT key, row FROM rows").fetchall()
    database.close()
    return [msgspec.msgpack.decode(row) for key, row in found if key.startswith(f"{kind}:")]


def reserved(folder: Path) -> int:
    with sqlite3.connect(folder / ".wizard" / "budgets.db") as database:
        (count,) = database.execute("SELECT count(*) FROM holds").fetchone()
    database.close()
    return int(count)


ASK = "{a: {prompt: {user: Hello}}}"


def test_during_a_hedged_race(begun: Begin, server: Server, tmp_path: Path) -> None:
    chain = "{strategy: {type: hedged, after: 10ms}, targets: [near, far], policies: {concurrency: 4}}"
    process = begun(written(tmp_path, server, chain, ASK))
    assert next_of(server.seen, 2) == ["far", "near"]
    interrupt(process)
    assert next_of(server.gone, 2) == ["far", "near"]
    assert [row["leases"] for row in rows(tmp_path, "concurrency")] == [[], []]
    assert reserved(tmp_path) == 0


def test_during_a_half_open_probe(begun: Begin, server: Server, tmp_path: Path) -> None:
    breaker = "{failure_threshold: 1, reset_timeout: 10ms, probe: true}"
    chain = f"{{targets: [near, far], policies: {{retry: 1, circuit_breaker: {breaker}}}}}"
    server.answers["near"] = [503]
    process = begun(written(tmp_path, server, chain, ASK))
    assert next_of(server.seen, 3) == ["far", "near", "near"]
    interrupt(process)
    assert next_of(server.gone, 2) == ["far", "near"]
    breakers = rows(tmp_path, "circuit_breaker")
    assert {row["state"] for row in breakers} == {"half_open", "closed"}
    assert [row["leases"] for row in breakers] == [[], []], "the next process need not wait until it expires"
    assert reserved(tmp_path) == 0


def test_during_a_stale_while_revalidate_refresh(begun: Begin, server: Server, tmp_path: Path) -> None:
    cache = "{ttl: 1ms, stale_while_revalidate: 1h, store: disk}"
    chain = f"{{targets: [near], policies: {{cache: {cache}}}}}"
    steps = "{a: {prompt: {user: Hello}}, b: {prompt: {user: 'After {{ steps.a.text }}'}, chain: slow}}"
    server.answers["near"] = [200]
    path = written(tmp_path, server, f"{chain}, slow: {{targets: [far]}}", steps)
    first = begun(path)
    assert next_of(server.seen, 2) == ["far", "near"]
    interrupt(first)
    second = begun(path)
    assert next_of(server.seen, 2) == ["far", "near"], "the old answer, and a refresh behind it"
    interrupt(second)
    assert next_of(server.gone, 3) == ["far", "far", "near"]
    assert reserved(tmp_path) == 0


@pytest.mark.parametrize("limit", ["concurrency: 1", "rate_limit: {windows: [1/minute]}"])
def test_while_waiting_on_a_shared_limit(limit: str, begun: Begin, server: Server, tmp_path: Path) -> None:
    steps = "{a: {for_each: parts, prompt: {user: '{{ item }}'}}}"
    process = begun(written(tmp_path, server, f"{{targets: [near], policies: {{{limit}}}}}", steps))
    assert next_of(server.seen, 1) == ["near"]
    kind = limit.partition(":")[0]
    until = time.monotonic() + LONG
    while not rows(tmp_path, kind)[0]["queue"]:
        assert time.monotonic() < until
    interrupt(process)
    assert next_of(server.gone, 1) == ["near"]
    (row,) = rows(tmp_path, kind)
    assert row["queue"] == [] and row.get("leases", []) == []
    assert reserved(tmp_path) == 0
