"""`wizard test` on cassettes: replayed without keys, recorded with those of the process."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cli_kit import Wizard

pytestmark = pytest.mark.usefixtures("ask")

PIPELINE = """version: 1
inputs: {question: {type: string}}
providers: {local: {type: mock, reply: So it is., latency: 10ms}}
chains: {default: {targets: [local/one, local/two], policies: {retry: {base: 20ms, jitter: none}}}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
TESTS = """version: 1
pipeline: ask.yaml
defaults: {inputs: {question: Why?}, cassette: ask.cassette.jsonl}
tests:
  an answer: {expect: {text: So it is., attempts: 1, served_by: local/one}}
  another question: {inputs: {question: Why not?}, expect: {text: So it is.}}
  a script before the cassette:
    targets: {local/one: [{status: 503, times: forever}]}
    expect: {text: So it is., served_by: local/two, elapsed: {at_least: 60ms}}
"""
PASSED = "ask.test.yaml: 3 passed\n3 tests in 1 file: 3 passed\n"


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("ask.cassette.jsonl").read_text().splitlines()]


def test_cassettes_are_recorded_and_then_replayed(wizard: Wizard) -> None:
    done = wizard("test", "--record", "missing", "ask.test.yaml")
    assert done == (0, PASSED, "ask.cassette.jsonl: 3 recorded, 0 replayed\n")
    assert [line["target"] for line in lines()[1:]] == ["local/one", "local/one", "local/two"]
    assert wizard("test", "ask.test.yaml") == (0, PASSED, "")
    assert wizard("test", "--record", "missing").err == "ask.cassette.jsonl: 0 recorded, 3 replayed\n"
    assert wizard("test", "--record", "all").err == "ask.cassette.jsonl: 3 recorded, 0 replayed\n"


def test_a_cassette_that_is_not_there_is_told_at_its_line(wizard: Wizard) -> None:
    done = wizard("test")
    assert done.code == 3
    assert done.err == (
        "ask.test.yaml:3:48 error[E035] there is no file 'ask.cassette.jsonl'; "
        "record it: wizard test --record missing\n"
    )


def test_a_request_that_changed_fails_its_test_and_shows_what_differs(wizard: Wizard) -> None:
    wizard("test", "--record", "all")
    Path("ask.test.yaml").write_text(TESTS.replace("Why not?", "Why ever?"))
    done = wizard("test")
    assert done.code == 1
    assert "FAILED another question" in done.out
    assert "holds no answer to this request to local/one; the nearest, line 3, differs" in done.out
    assert '  - "Why not?"' in done.out
    assert '  + "Why ever?"' in done.out


def test_changed_prompts_are_a_warning_and_an_edited_cassette_is_an_error(wizard: Wizard) -> None:
    wizard("test", "--record", "all")
    Path("ask.yaml").write_text(PIPELINE.replace('{{ question }}"', '{{ question }}{# a comment #}"'))
    done = wizard("test")
    assert done.code == 0
    assert done.err.startswith("ask.cassette.jsonl:1:1 warning[W170] the prompts were changed")
    Path("ask.cassette.jsonl").write_text(Path("ask.cassette.jsonl").read_text().replace("So it is.", "So it was."))
    done = wizard("test")
    assert done.code == 3
    assert "ask.cassette.jsonl:2:1 error[E093] the line was edited" in done.err
    assert wizard("test", "--record", "all").code == 0


def test_an_old_cassette_is_a_warning(wizard: Wizard) -> None:
    wizard("test", "--record", "all")
    text = re.sub('"recorded_at":"20[0-9][0-9]', '"recorded_at":"2001', Path("ask.cassette.jsonl").read_text())
    Path("ask.cassette.jsonl").write_text(text)
    assert wizard("cassette", "accept", "ask.cassette.jsonl").code == 0
    done = wizard("test")
    assert (done.code, done.err.count("W171")) == (0, 1)
    assert "ask.cassette.jsonl:1:1 warning[W171] this was recorded" in done.err
    assert "warning[W171]" in wizard("validate", "ask.test.yaml").out


def test_a_cassette_that_is_named_is_validated(wizard: Wizard) -> None:
    wizard("test", "--record", "all")
    assert wizard("validate", "ask.cassette.jsonl").code == 0
    Path("ask.cassette.jsonl").write_text(Path("ask.cassette.jsonl").read_text().replace("So it is.", "So it was."))
    done = wizard("validate", "ask.cassette.jsonl")
    assert (done.code, done.out.count("E093")) == (1, 3)


def test_all_does_not_drop_what_other_tests_recorded(wizard: Wizard) -> None:
    wizard("test", "--record", "all")
    done = wizard("test", "--record", "all", "-k", "another")
    assert done.code == 2
    assert "ask.cassette.jsonl is the cassette of 'an answer' too, which -k leaves out" in done.err
    assert wizard("test", "--record", "missing", "-k", "another").code == 0
    assert len(lines()) == 4


def test_recording_and_watching_do_not_go_together(wizard: Wizard) -> None:
    assert wizard("test", "--record", "all", "--watch").code == 2


def test_without_cassettes_there_is_nothing_to_record(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text(TESTS.replace(", cassette: ask.cassette.jsonl", ""))
    assert "no test here has a cassette" in wizard("test", "--record", "all").err


def test_a_cassette_outside_the_project_is_refused(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text(TESTS.replace("cassette: ask", "cassette: ../../ask"))
    done = wizard("test", "--record", "all")
    assert done.code == 3
    assert "error[E033]" in done.err and "leaves the project" in done.err


class Server(BaseHTTPRequestHandler):
    """Answers like OpenAI, and keeps the keys it was asked with."""

    keys: list[str | None] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.keys.append(self.headers.get("authorization"))
        answer = {"choices": [{"message": {"content": "So it is."}, "finish_reason": "stop"}]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Server.keys.clear()
    thread = Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.server
def test_only_a_recording_reads_keys_of_the_process_and_none_is_written(
    wizard: Wizard, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai = f"providers: {{a: {{type: openai, base_url: '{server}', api_key: '${{env:HERE_KEY}}'}}}}"
    text = PIPELINE.replace("providers: {local: {type: mock, reply: So it is., latency: 10ms}}", openai)
    Path("ask.yaml").write_text(text.replace("[local/one, local/two]", "[a/one]"))
    Path("ask.test.yaml").write_text(
        """version: 1
pipeline: ask.yaml
defaults: {inputs: {question: is this a test?}, env: {HERE_KEY: test}, cassette: ask.cassette.jsonl}
tests: {an answer: {expect: {text: So it is.}}}
"""
    )
    monkeypatch.setenv("HERE_KEY", "real-key-of-this-process-4711")
    assert wizard("test", "--record", "all").code == 0
    assert Server.keys == ["Bearer real-key-of-this-process-4711"]
    assert "4711" not in Path("ask.cassette.jsonl").read_text()
    monkeypatch.delenv("HERE_KEY")
    assert wizard("test").code == 0
    assert len(Server.keys) == 1, "the replay asked nobody"


@pytest.mark.skipif(sys.platform == "win32", reason="a folder that cannot be written")
def test_a_cassette_that_cannot_be_written_is_told(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ask.test.yaml").write_text(TESTS.replace("cassette: ask", "cassette: no/such/ask"))
    done = wizard("test", "--record", "all")
    assert done.code == 3
    assert "no/such/ask.cassette.jsonl cannot be written: No such file or directory" in done.err
