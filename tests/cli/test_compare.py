"""wizard compare: the same rows through two chains, next to each other."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cli_kit import Wizard
from syrupy.assertion import SnapshotAssertion

FILE = """\
version: 1
inputs: {question: {type: string}}
providers:
  near: {type: mock, model: tiny, latency: 300ms, reply: [{match: sky, reply: It is air.}, {reply: A short answer.}]}
  far: {type: mock, model: big, latency: 2s, reply: [{match: fish, status: 503}, {match: sky, reply: It is air.}, {}]}
chains:
  small: {targets: [near]}
  large: {targets: [far], policies: {retry: {max_attempts: 2}}}
steps: {answer: {chain: small, prompt: {user: "{{ question }}"}}}
"""


@pytest.fixture(autouse=True)
def files(wizard: Wizard) -> None:
    Path("chains.yaml").write_text(FILE)
    questions = ["Why is the sky blue?", "What is a fish?", "Who are you?"]
    Path("rows.jsonl").write_text("".join(f"{json.dumps({'question': each})}\n" for each in questions))


def compared(wizard: Wizard, *more: str):
    return wizard("compare", "chains.yaml", "--chain", "small,large", "--rows", "rows.jsonl", "--mock", *more)


def test_answers_stand_next_to_each_other_and_figures_below(
    wizard: Wizard, approved: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = compared(wizard)
    assert (code, err) == (0, "")
    assert out == approved


def test_on_a_narrow_terminal_they_stand_below_each_other(
    wizard: Wizard, approved: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert compared(wizard).out == approved


def test_columns_are_as_wide_as_their_letters_and_an_empty_answer_is_called_that(
    wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "62")
    wide = "空は青い。" * 4
    Path("chains.yaml").write_text(
        FILE.replace("A short answer.", f"Cafe\u0301 {wide}").replace("{}]", '{reply: " "}]')
    )
    out = compared(wizard, "--html", "out.html").out
    assert out.splitlines()[-8:-4] == [
        "near · 300 ms · $0              far · 2.0 s · $0",
        "Cafe\u0301 空は青い。空は青い。空は   (an empty answer)",
        "青い。空は青い。",
        "",
    ]
    assert "<i>an empty answer</i>" in Path("out.html").read_text()


def test_what_has_no_price_has_an_unknown_cost(wizard: Wizard) -> None:
    Path("chains.yaml").write_text(
        FILE.replace("{type: mock, model: tiny, latency: 300ms, ", "{type: vllm, model: tiny}  # ")
    )
    out = compared(wizard, "--html", "out.html").out
    assert re.search(r"^small +3/3 .* unknown +", out, re.MULTILINE)
    assert "<td>unknown</td>" in Path("out.html").read_text()


def test_as_json_each_result_is_whole_and_the_totals_add_up(wizard: Wizard) -> None:
    code, out, _ = compared(wizard, "--format", "json")
    found = json.loads(out)
    assert code == 0 and found["chains"] == ["small", "large"] and found["same"] == 1
    assert [row["number"] for row in found["rows"]] == [1, 2, 3]
    fish = found["rows"][1]["results"]
    assert fish["small"]["ok"] and fish["large"]["error"]["kind"] == "server" and len(fish["large"]["attempts"]) == 2
    small, large = found["totals"]
    assert (small["runs"], small["ok"], small["p50"], small["attempts"]) == (3, 3, 0.3, 3)
    assert (large["runs"], large["ok"], large["p50"], large["attempts"]) == (3, 2, 2.0, 4)


def test_the_same_seed_gives_the_same_bytes_however_many_run_at_once(wizard: Wizard) -> None:
    texts = {compared(wizard, "--seed", "7", "--format", "json", "--concurrency", str(n)).out for n in (1, 1)}
    assert len(texts) == 1
    one, many = (json.loads(compared(wizard, "--format", "json", "--concurrency", n).out)["rows"] for n in ("1", "8"))
    assert [row["results"]["large"]["text"] for row in one] == [row["results"]["large"]["text"] for row in many]


def test_a_single_row_comes_from_the_flags(wizard: Wizard) -> None:
    code, out, _ = wizard(
        "compare", "chains.yaml", "--chain", "small,large", "-i", "question=Why is the sky?", "--mock"
    )
    assert code == 0 and "row 1 (the same)" in out and "the same output in 1 of 1 rows" in out


def test_where_nothing_went_well_the_code_is_that_of_the_error(wizard: Wizard) -> None:
    Path("chains.yaml").write_text(FILE.replace("match: sky, reply: It is air.", "match: sky, status: 401"))
    code, out, _ = wizard("compare", "chains.yaml", "--chain", "small,large", "-i", "question=sky", "--mock")
    assert code == 4 and "auth:" in out and "0/1" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--chain", "small", "-i", "question=x"], 2, "two or more different chains"),
        (["--chain", "small,small", "-i", "question=x"], 2, "two or more different chains"),
        (["--chain", "small,lagre", "-i", "question=x"], 2, "there is no chain 'lagre' in chains.yaml; known there:"),
        (["--chain", "small,large", "-i", "question=x", "--rows", "rows.jsonl"], 2, "not both"),
        (["--chain", "small,large", "--rows", "none.jsonl"], 2, "cannot read none.jsonl"),
        (["--chain", "small,large", "--rows", "empty.jsonl"], 2, "empty.jsonl has no rows"),
        (["--chain", "small,large", "--rows", "wrong.jsonl"], 2, "wrong.jsonl: row 2: there is no input 'qestion'"),
        (["--chain", "small,large", "--rows", "broken.jsonl"], 2, "broken.jsonl:2: not JSON"),
    ],
)
def test_wrong_use_is_told(wizard: Wizard, arguments: list[str], code: int, says: str) -> None:
    Path("empty.jsonl").write_text("\n")
    Path("wrong.jsonl").write_text('{"question": "x"}\n{"qestion": "x"}\n')
    Path("broken.jsonl").write_text('{"question": "x"}\n{"question: "x"}\n')
    ran = wizard("compare", "chains.yaml", *arguments, "--mock")
    assert ran.code == code and says in ran.err and not ran.out


def test_chains_share_the_limit_of_their_provider(wizard: Wizard) -> None:
    limited = FILE.replace(
        "latency: 300ms,", "latency: 0s, policies: {concurrency: 1, rate_limit: {rate: 1/s, burst: 1}},"
    )
    Path("chains.yaml").write_text(limited.replace("[far]", "[near]"))
    found = json.loads(compared(wizard, "--format", "json").out)
    started = sorted(
        attempt["started"]
        for row in found["rows"]
        for result in row["results"].values()
        for attempt in result["attempts"]
    )
    waited = [result["elapsed"] for row in found["rows"] for result in row["results"].values()]
    assert len(started) == 6 and max(waited) > 2, "six calls at one a second, four of them at once"


class Seen(HTMLParser):
    """The texts of a page by the element that they stand in, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_as_a_page_what_differs_is_marked_and_nothing_is_fetched(wizard: Wizard) -> None:
    Path("chains.yaml").write_text(FILE.replace("{}]", "{reply: A <b>long</b> answer.}]"))
    assert compared(wizard, "--html", "out.html").code == 0
    text = Path("out.html").read_text()
    seen = Seen(text)
    assert not seen.open and not seen.links and "script" not in seen.texts
    assert "".join(seen.texts["mark"]).replace(" ", "") == "<b>long</b>"
    assert "Row 1 (the same)" in seen.texts["h3"] and "Row 2" in seen.texts["h3"]
    assert any("failed: server" in each for each in seen.texts["pre"])
    assert "3 of 3" in seen.texts["td"] and "2 of 3" in seen.texts["td"]
    compared(wizard, "--html", "again.html")
    assert Path("again.html").read_text() == text


def test_a_page_that_cannot_be_written_costs_no_run(wizard: Wizard) -> None:
    code, out, err = compared(wizard, "--html", "none/out.html")
    assert (code, out) == (2, "") and "--html cannot write none/out.html" in err
