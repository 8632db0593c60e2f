"""The run store: what is kept of a run, what is not, and what a broken database changes (nothing)."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

import wizard_dsl as wizard
from wizard_dsl.core import events as e
from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.events import Event
from wizard_dsl.core.record import Record
from wizard_dsl.core.run import Run
from wizard_dsl.observe.history_file import HISTORY, SCHEMA_VERSION, HistoryFile, HistoryUnavailable
from wizard_dsl.observe.history_past import asks_for_past, past_of
from wizard_dsl.observe.history_record import FORMAT, Stored, decode, encode
from wizard_dsl.observe.story import story
from wizard_dsl.observe.transcript import render
from wizard_dsl.runtime.runtime import open as open_file
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

FILE = """
version: 1
inputs: {q: {type: string}}
providers: {a: {type: mock, model: m, models: {m: {prices: {input: $1, output: $2}}}}, b: {type: mock, model: n}}
chains: {default: {targets: [a, b], policies: {cache: 1h}}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""
SECRET = "sk-aaaabbbbccccddddeeee"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "case.yaml"
    path.write_text(FILE)
    return path


class Told:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, run: Run, event: Event) -> None:
        self.events.append(event)

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self.events if isinstance(each, e.HistoryUnavailable)]


def play(
    file: Path, scripts: dict[str, list[Any]], *, sets: Sequence[str] = (), runs: int = 1, told: Told | None = None,
    history: wizard.History | None = None, deadline: str | None = None, pause: float = 0.0,
) -> list[wizard.Result | wizard.WizardError]:  # fmt: skip
    """Run the file on scripts in virtual time, recorded; one made script a target, for all runs."""

    async def main() -> list[wizard.Result | wizard.WizardError]:
        made: dict[str, Script] = {}

        def provide(plan: Any, context: Any) -> Any:
            script = made.setdefault(plan.name, Script(plan.name, scripts[plan.name]))
            return Scripted(script, context.clock)

        results: list[wizard.Result | wizard.WizardError] = []
        keep = history or wizard.History()
        sinks = [told] if told else []
        async with open_file(file, sets=sets, env={}, seed=1, provide=provide, sinks=sinks, history=keep) as pipeline:
            for _ in range(runs):
                try:
                    results.append(await pipeline.run(q=f"my question, key {SECRET}", deadline=deadline))
                except wizard.WizardError as error:
                    results.append(error)
                await asyncio.sleep(pause)
        return results

    return virtual.run(main())


def stored(file: Path, ref: str = "last") -> Stored:
    found = HistoryFile(file.parent / HISTORY).find(ref)
    assert isinstance(found, Stored)
    return found


def everything(file: Path) -> bytes:
    """All bytes of the database."""
    with sqlite3.connect(file.parent / HISTORY) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return (file.parent / HISTORY).read_bytes()


def test_a_run_is_read_back_as_it_was(file: Path) -> None:
    (result,) = play(file, {"a": [503, {"reply": "ok then", "delay": "2s"}], "b": []}, deadline="20s")
    assert isinstance(result, wizard.Result)
    kept = stored(file)
    assert (kept.file, kept.kind, kept.content) == ("case.yaml", "ok", "none")
    assert (kept.options.seed, kept.options.number, kept.options.deadline) == (1, 0, "20s")
    assert kept.result.attempts == result.attempts
    told = render(kept.transcript(), result=kept.result).splitlines()
    assert told[2].endswith("cache miss " + told[2][-8:])
    assert sum("attempt" in line for line in told) == 2
    assert {type(event) for _, _, event in kept.transcript().events} <= set(e.EVENTS)


def test_without_content_nothing_that_was_asked_or_answered_is_written(file: Path) -> None:
    play(file, {"a": [503, "the reply"], "b": []})
    kept = stored(file)
    assert (kept.inputs, kept.result.text, kept.result.output, kept.result.steps["answer"].text) == (None, "", None, "")
    assert all(each.messages is None and each.reply is None for each in kept.attempts)
    written = everything(file)
    assert b"my question" not in written
    assert b"the reply" not in written


def test_what_may_quote_an_answer_is_left_out_with_it(file: Path) -> None:
    file.write_text(FILE.replace('"{{ q }}"}', '"{{ q }}"}, output: {schema: {enum: [x, y]}, repairs: 0}'))
    (error,) = play(file, {"a": ['"my name is Bond"'], "b": ['"my name is Bond"']})
    assert isinstance(error, wizard.WizardError)
    assert "Bond" in error.message
    kept = stored(file)
    assert kept.kind == "contract"
    assert "not stored" in (kept.result.error.message if kept.result.error else "")
    assert b"Bond" not in everything(file)


def test_with_full_content_messages_and_replies_of_each_attempt_are_kept_and_keys_never(file: Path) -> None:
    play(file, {"a": [503, f"the reply with {SECRET}"], "b": []}, sets=["history.content=full"])
    kept = stored(file)
    assert kept.inputs == {"q": "my question, key ***"}
    assert [each.messages for each in kept.attempts] == [[{"role": "user", "content": "my question, key ***"}]] * 2
    assert [each.reply for each in kept.attempts] == [None, "the reply with ***"]
    assert kept.result.text == "the reply with ***"
    assert SECRET.encode() not in everything(file)


def test_a_secret_of_the_file_is_never_written_whatever_it_looks_like(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(FILE.replace("a: {type: mock, model: m", 'a: {type: openai, model: m, api_key: "${env:K}"'))

    async def main() -> None:
        def provide(plan: Any, context: Any) -> Any:
            return Scripted(Script(plan.name, ["you said plainword"]), context.clock)

        async with open_file(file, sets=["history.content=full"], env={"K": "plainword"}, provide=provide,
                             history=wizard.History()) as pipeline:  # fmt: skip
            await pipeline.run(q="plainword?")

    virtual.run(main())
    assert stored(file).inputs == {"q": "***?"}
    assert b"plainword" not in everything(file)


def test_what_a_provider_asked_to_wait_is_kept(file: Path) -> None:
    play(file, {"a": [{"status": 429, "retry_after": "1500ms"}, "ok"], "b": []})
    assert [each.retry_after for each in stored(file).attempts] == [1.5, None]
    assert [each.retry_after for each in stored(file).transcript().attempts] == [1.5, None]


def test_failed_and_cancelled_runs_are_recorded_too(file: Path) -> None:
    (error,) = play(file, {"a": [401], "b": []})
    assert isinstance(error, wizard.WizardError)
    assert (stored(file).kind, stored(file).result.ok) == ("auth", False)

    async def main() -> None:
        def provide(plan: Any, context: Any) -> Any:
            return Scripted(Script(plan.name, [{"reply": "one two", "delay": "1h"}]), context.clock)

        async with open_file(file, env={}, seed=2, provide=provide, history=wizard.History()) as pipeline:
            async with pipeline.start(q="x") as stream:
                await asyncio.sleep(1)
                await stream.cancel()

    virtual.run(main())
    assert (stored(file).kind, stored(file).result.elapsed) == ("cancelled", 1.0)


def test_the_newest_of_equal_ids_is_meant_and_an_id_is_found_by_its_beginning(file: Path) -> None:
    results = play(file, {"a": ["one", "two"], "b": []}, sets=["chains.default.policies.cache=off"], runs=2)
    play(file, {"a": [401], "b": []})
    one, two = (each.run_id for each in results if isinstance(each, wizard.Result))
    history = HistoryFile(file.parent / HISTORY)
    assert stored(file, one).kind == "auth"
    assert stored(file, two[:5]).id == two
    assert history.find("") == sorted([one, two])
    assert history.find("zzzz") == []
    assert [row.id for row in history.rows(10)] == [one, two, one]
    assert [row.kind for row in history.rows(1)] == ["auth"]


def test_the_short_form_of_an_id_means_no_other_run(tmp_path: Path, file: Path) -> None:
    play(file, {"a": ["one"], "b": []})
    kept = stored(file)
    history = HistoryFile(tmp_path / "other.db")
    for id in ("abcd1111", "abcd1122", "ab000000"):
        twin = msgspec.structs.replace(kept, result=msgspec.structs.replace(kept.result, run_id=id))
        history.add(twin, msgspec.json.encode(twin))
    assert [history.short(id) for id in ("abcd1111", "abcd1122", "ab000000")] == ["abcd111", "abcd112", "ab00"]
    history.close()


def test_an_event_of_a_plug_in_is_read_back_by_its_fields(file: Path) -> None:
    class Redacted(e.Event, frozen=True):
        name: ClassVar[str] = "acme_redacted"
        count: int

    play(file, {"a": ["one"], "b": []})
    kept = stored(file)
    odd = msgspec.structs.replace(kept, events=((1.0, "answer", "acme_redacted", {"path": "p", "count": 2}),))
    ((_, _, event),) = odd.transcript().events
    assert (event.name, event.path) == ("acme_redacted", "p")
    assert render(odd.transcript()) == "   1.000  acme redacted count=2"
    assert render(odd.transcript()) == render(_one(Redacted(path="p", count=2)))


def _one(event: e.Event) -> Any:
    from wizard_dsl.core.run import Transcript

    transcript = Transcript(0.0)
    transcript.events.append((1.0, "answer", event))
    return transcript


def test_a_record_of_a_later_format_says_so(file: Path) -> None:
    play(file, {"a": ["one"], "b": []})
    later = msgspec.structs.replace(stored(file), format=FORMAT + 1)
    with pytest.raises(ValueError, match=f"format {FORMAT + 1}"):
        decode(msgspec.json.encode(later))


# -- what is wrong with the database ------------------------------------------------------------------


def corrupt(path: Path) -> None:
    path.write_bytes(b"not a database " * 400)


def from_the_future(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()


def a_folder(path: Path) -> None:
    path.mkdir()


def full(path: Path) -> None:
    """As a full disk is: no page more."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs(seq INTEGER)")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.close()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (corrupt, "it is corrupt"),
        (from_the_future, "a later version of wizard made it"),
        (a_folder, "Is a directory"),
        (full, "has no column named id"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_once_and_fails_no_run(file: Path, harm: Any, says: str) -> None:
    path = file.parent / HISTORY
    path.parent.mkdir()
    harm(path)
    told = Told()
    results = play(file, {"a": ["one", "two"], "b": []}, sets=["chains.default.policies.cache=off"], runs=2, told=told)
    assert [each.text for each in results if isinstance(each, wizard.Result)] == ["one", "two"]
    (reason,) = told.reasons
    assert says in reason
    assert str(path) in reason


def test_a_project_that_cannot_be_written_is_told_once(file: Path) -> None:
    (file.parent / ".wizard").write_text("a file where a folder should be")
    told = Told()
    play(file, {"a": ["one"], "b": []}, told=told)
    assert len(told.reasons) == 1


def test_reading_where_nothing_was_recorded_makes_nothing(file: Path) -> None:
    history = HistoryFile(file.parent / HISTORY)
    assert (history.rows(5), history.find("last"), history.short("abcdef")) == ([], [], "abcdef")
    assert not (file.parent / ".wizard").exists()


# -- where nothing may be written ---------------------------------------------------------------------


@pytest.fixture
def kept(file: Path) -> Iterator[Path]:
    """A recorded run's database, in a folder that everybody may look into."""
    play(file, {"a": ["one"], "b": []})
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    path = folder / "history.db"
    shutil.copyfile(file.parent / HISTORY, path)
    yield path
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """None of them may be written, by root neither, who is somebody else meanwhile."""
    for path in paths:
        path.chmod(path.stat().st_mode & 0o555)
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


posix = pytest.mark.skipif(sys.platform == "win32", reason="the rights of files")


@posix
def test_runs_are_read_where_neither_the_file_nor_its_folder_may_be_written(kept: Path) -> None:
    with read_only(kept, kept.parent):
        (row,) = HistoryFile(kept).rows(10)
        found = HistoryFile(kept).find(row.id[:6])
    assert isinstance(found, Stored)
    assert [each.name for each in kept.parent.iterdir()] == ["history.db"]


@posix
def test_reading_a_file_that_may_not_be_written_leaves_nothing_beside_it(kept: Path) -> None:
    kept.parent.chmod(0o777)
    kept.chmod(0o444)
    with read_only(kept):
        assert len(HistoryFile(kept).rows(10)) == 1
    assert [each.name for each in kept.parent.iterdir()] == ["history.db"]


@posix
def test_runs_that_a_crash_left_in_the_log_are_read_without_writing(kept: Path, file: Path) -> None:
    with sqlite3.connect(file.parent / HISTORY, isolation_level=None) as crashed:
        crashed.execute("UPDATE runs SET name = 'after the last checkpoint'")
        for end in ("", "-wal"):
            shutil.copyfile(f"{file.parent / HISTORY}{end}", f"{kept}{end}")
    crashed.close()
    with read_only(kept, kept.parent):
        (row,) = HistoryFile(kept).rows(10)
    assert row.name == "after the last checkpoint"
    assert sorted(each.name for each in kept.parent.iterdir()) == ["history.db", "history.db-wal"]


@posix
def test_what_another_process_has_just_recorded_is_read_without_writing(kept: Path) -> None:
    with sqlite3.connect(kept, isolation_level=None) as writer:
        writer.execute("UPDATE runs SET name = 'just now'")
        with read_only(kept, kept.parent):
            (row,) = HistoryFile(kept).rows(10)
    writer.close()
    assert row.name == "just now"


@posix
def test_a_database_that_may_not_be_read_says_so(kept: Path) -> None:
    kept.chmod(0)
    with read_only(kept), pytest.raises(HistoryUnavailable, match="Permission denied"):
        HistoryFile(kept).rows(10)


def test_a_second_process_that_holds_the_lock_costs_a_warning_and_no_waiting_run(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wizard_dsl.observe.history_file._PATIENCE", 0.01)
    play(file, {"a": ["one"], "b": []})
    told = Told()
    with sqlite3.connect(file.parent / HISTORY, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        (result,) = play(file, {"a": ["one"], "b": []}, told=told)
        other.execute("ROLLBACK")
    other.close()
    assert isinstance(result, wizard.Result)
    assert told.reasons == [f"the history {file.parent / HISTORY} cannot be used: another process holds its lock"]
    assert len(HistoryFile(file.parent / HISTORY).rows(10)) == 1


async def test_in_real_time_a_thread_writes_and_many_runs_at_once_are_all_there(file: Path) -> None:
    told = Told()
    async with wizard.open(file, mock=True, seed=3, sinks=[told], history=wizard.History(wall=lambda: 5.0)) as pipeline:
        await asyncio.gather(*(pipeline.run(q=str(number)) for number in range(40)))
        await pipeline.recorded()
        rows = HistoryFile(file.parent / HISTORY).rows(100)
    assert len({row.id for row in rows}) == 40
    assert {row.began for row in rows} == {5.0}
    assert told.reasons == []


async def test_a_disk_that_is_too_slow_loses_runs_rather_than_memory_and_says_so_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wizard_dsl.observe.history.MOST_WAITING", 3)
    hold = threading.Event()
    monkeypatch.setattr("wizard_dsl.observe.history._write", lambda *given: hold.wait(10))
    told = Told()
    async with wizard.open(file, mock=True, sinks=[told], history=wizard.History()) as pipeline:
        for number in range(6):
            assert (await pipeline.run(q=str(number))).ok
        hold.set()
        await pipeline.recorded()
    assert len(told.reasons) == 1
    assert "3 runs wait to be written to" in told.reasons[0]


async def test_a_runtime_without_a_history_records_nothing(file: Path) -> None:
    async with wizard.open(file, mock=True) as pipeline:
        await pipeline.run(q="x")
        await pipeline.recorded()
    assert not (file.parent / ".wizard" / "history.db").exists()


async def test_a_recorder_that_raises_changes_nothing_of_the_run_and_is_told(file: Path) -> None:
    class Broken:
        def start(self, setup: Any, clock: Any, tell: Any) -> Broken:
            return self

        def ended(self, record: Any) -> None:
            raise RuntimeError("oh")

        async def written(self) -> None: ...

        async def aclose(self) -> None: ...

    told = Told()
    async with wizard.open(file, mock=True, sinks=[told], history=Broken()) as pipeline:
        assert (await pipeline.run(q="x")).ok
    assert told.reasons == ["RuntimeError('oh')"]


def test_a_run_is_written_in_less_than_ten_milliseconds(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Record] = []

    def keep(history: HistoryFile, record: Record, began: float) -> None:
        seen.append(record)

    monkeypatch.setattr("wizard_dsl.observe.history._write", keep)
    play(file, {"a": [*[503] * 2, "words " * 400], "b": []})
    history = HistoryFile(file.parent / HISTORY)
    took = []
    for _ in range(30):
        begun = machine_time()
        history.add(*encode(seen[0], 1.0))
        took.append(machine_time() - begun)
    history.close()
    assert sorted(took)[3] < 0.010  # of a busy machine, the moments that were ours


def test_what_an_earlier_run_left_behind_is_part_of_the_story(file: Path) -> None:
    sets = [
        "chains.default.policies={retry: 1, cache: {ttl: 10s, ttl_jitter: 0%}, circuit_breaker: {failure_threshold: 1}}"
    ]
    first, second = play(file, {"a": [503, "z"], "b": ["x", "y"]}, sets=sets, runs=2, pause=70.0)
    assert isinstance(first, wizard.Result) and isinstance(second, wizard.Result)
    history = HistoryFile(file.parent / HISTORY)
    kept = stored(file)
    assert asks_for_past(kept)
    (before,) = history.earlier(kept)
    assert before.id == first.run_id
    told = story(kept.result, kept.transcript(), past_of(kept, [before]))
    ago = f"1.2 min before this run, in run {first.run_id}".replace("1.2 min", "70.0 s")
    assert f"one was stored {ago}: its time was over" in told
    assert not asks_for_past(before) or history.earlier(before) == []


def test_a_breaker_and_a_refusal_of_an_earlier_run_are_named(file: Path) -> None:
    sets = ["chains.default.policies={retry: 1, cache: off, circuit_breaker: {failure_threshold: 1}}"]
    first, _ = play(file, {"a": [503], "b": ["x", "y"]}, sets=sets, runs=2, pause=10.0)
    assert isinstance(first, wizard.Result)
    kept = stored(file)
    told = story(kept.result, kept.transcript(), past_of(kept, HistoryFile(file.parent / HISTORY).earlier(kept)))
    assert f"a was skipped, because its breaker opened 10.0 s before this run, in run {first.run_id}." in told
    first, _ = play(
        file, {"a": [{"status": 429, "retry_after": "300s"}], "b": ["x", "y"]}, runs=2, pause=200.0,
        sets=["chains.default.policies.cache=off"],
    )  # fmt: skip
    kept = stored(file)
    told = story(kept.result, kept.transcript(), past_of(kept, HistoryFile(file.parent / HISTORY).earlier(kept)))
    assert isinstance(first, wizard.Result)
    assert f"a was skipped, because it said rate limited 3 min before this run, in run {first.run_id}." in told


def test_redacted_content_has_no_personal_data_that_has_a_shape(file: Path) -> None:
    play(file, {"a": ["call +49 30 901820 or ann@firm.de"], "b": []}, sets=["history.content=redacted"])
    kept = stored(file)
    assert kept.content == "redacted"
    assert kept.result.text == "call +99 99 999999 or redacted@example.com"
    assert kept.attempts[0].reply == kept.result.text
    assert kept.inputs == {"q": "my question, key ***"}
    assert b"ann@firm" not in everything(file)


def test_what_a_provider_says_loses_personal_data_whatever_is_kept(file: Path) -> None:
    body = '{"error": {"message": "no user ann@firm.de here"}}'
    play(file, {"a": [{"status": 404, "body": body}], "b": []})
    assert "no user redacted@example.com here" in (stored(file).result.attempts[0].message or "")
