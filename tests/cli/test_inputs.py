"""What inputs may come from: flags, files, stdin; and what is said where one cannot be read."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from wizard_dsl.cli import _inputs
from wizard_dsl.cli._inputs import gather
from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.spec.document import InputSpec

DECLARED = {"q": InputSpec("q", {"type": "string"})}


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)
    monkeypatch.setattr(_inputs.sys, "stdin", stream)


@pytest.mark.parametrize("content", [b"a\r\nb\r\n", b"\xef\xbb\xbfa\nb\n", b"a\rb"])
def test_stdin_from_any_system_is_the_same_text(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    piped(monkeypatch, content)
    assert gather(DECLARED, [], None) == {"q": "a\nb"}


def test_a_file_from_any_system_is_the_same_text(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert gather(DECLARED, [f"q=@{path}"], None) == {"q": "a\nb"}


def test_stdin_in_another_encoding_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"Gr\xfc\xdfe")
    with pytest.raises(InputInvalid, match="stdin is not UTF-8") as caught:
        gather(DECLARED, [], None)
    assert "iconv" in (caught.value.suggestion or "")


def test_an_input_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inputs, "MAX_BYTES", 1 << 20)
    with pytest.raises(InputInvalid, match="/dev/zero holds more than 1 MiB"):
        gather(DECLARED, ["q=@/dev/zero"], None)


@pytest.mark.parametrize("content", ["[1]", "", "hello"])
def test_a_file_that_is_no_mapping_of_inputs_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "in.json"
    path.write_text(content)
    with pytest.raises(InputInvalid, match="no mapping of inputs") as caught:
        gather(DECLARED, [], path)
    assert "version" not in str(caught.value.suggestion)


def test_a_file_of_inputs_that_is_absent_has_no_line(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid) as caught:
        gather(DECLARED, [], tmp_path / "none.yaml")
    assert "none.yaml: the file cannot be read" in caught.value.message
