"""A cassette that was damaged in any way is told, and never read as something else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing._cassette_lines import Asked, Exchange, Failed, Header

HEADER = Header(
    cassette=1, wizard="0.1.0", recorded_at="2026-01-01T00:00:00Z", prompts="0" * 16, checksum=files.UNSIGNED
)
EXCHANGES = [
    Exchange(target="a/b", request=Asked(method="POST", path="/x", body={"q": "ü"}), status=200, answered=3, end=9),
    Exchange(target="a/b", request=Asked(body={"q": 1}), failed=Failed(at=5, kind="server", message="no")),
    Exchange(target="c/d", request=Asked(body=None), chunks=((4, "né"),), status=503, cancelled=7, stream=True),
]
ODD = [b"{", b'"', b"\n", b"null", b"[", b"1e999", b"\\u0000", b'{"a":1}\n', b',"sum":"0"', b"\xff", b"\r"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "c.jsonl"
    files.write(made, HEADER, [files.line_of(each) for each in EXCHANGES])
    return made


def plain(exchange: Exchange) -> dict[str, object]:
    """Its fields, without the checksum of the line."""
    return {name: getattr(exchange, name) for name in Exchange.__struct_fields__}


def damage(content: bytes, dice: random.Random) -> bytes:
    made = bytearray(content)
    place = dice.randrange(len(made))
    how = dice.randrange(5)
    if how == 0:
        made[place : place + 1] = bytes([dice.randrange(256)])
    elif how == 1:
        del made[place : place + dice.randint(1, 60)]
    elif how == 2:
        made[place:place] = dice.choice(ODD)
    elif how == 3:
        made = made[:place]
    else:
        lines = bytes(made).split(b"\n")
        dice.shuffle(lines)
        made = bytearray(b"\n".join(lines))
    return bytes(made)


def test_what_is_written_is_read(path: Path) -> None:
    found = files.read(path)
    assert found.recording is not None
    assert [plain(each) for _, each in found.recording.exchanges] == [plain(each) for each in EXCHANGES]
    assert [line for line, _ in found.recording.exchanges] == [2, 3, 4]
    assert (found.wrong, found.edited) == ((), ())


@pytest.mark.parametrize("block", range(4))
def test_damage_is_told_or_changes_nothing(path: Path, block: int) -> None:
    content, whole = path.read_bytes(), files.read(path).recording
    for number in range(block * 150, block * 150 + 150):
        path.write_bytes(damage(content, random.Random(number)))
        found = files.read(path)
        assert found.recording is not None or found.wrong
        assert all(each.line >= 1 for each in found.wrong)
        if found.recording is not None and not found.edited:
            assert whole is not None
            assert found.recording.exchanges == whole.exchanges


@pytest.mark.parametrize("last", [b'"targ', b'"target"', b'"target":', b'"path":"/'])
def test_a_line_that_is_cut_off_is_told_as_that_wherever_it_ends(path: Path, last: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.index(last) + len(last)])
    assert [(each.line, each.message) for each in files.read(path).wrong] == [(2, "the line is cut off")]


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            '"status":503',
            '"statuss":503',
            ":4:44 error[E092] unknown key 'statuss' in the line; did you mean 'status'?",
        ),
        ('"body":{"q":1}', '"boby":{"q":1}', ":3:28 error[E092] unknown key 'boby' in request; did you mean 'body'?"),
        ('"kind":"server",', "", ":3:44 error[E092] 'kind' is missing in failed; record it again"),
        ('"kind":"server"', '"kind":5', ":3:61 error[E092] expected `str`, got `int` at failed.kind"),
    ],
)
def test_a_wrong_key_or_value_is_told_at_its_place_in_words(path: Path, right: str, wrong: str, told: str) -> None:
    path.write_text(path.read_text().replace(right, wrong))
    assert render_text(files.read(path).wrong) == f"{path}{told}\n"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fails(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="No space left on device") as caught:
        files.write(path, HEADER, [files.line_of(EXCHANGES[0])])
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
