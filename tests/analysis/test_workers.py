"""Seeds in processes of their own: the same bytes, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import signal

import msgspec
import pytest
from interrupt_kit import interruptible
from simulation_kit import CHAIN, scenario

from wizard_dsl.analysis.workers import Job, cores, play
from wizard_dsl.core.errors import SpecError


def jobs(folder, count: int = 3, text: str = CHAIN) -> list[Job]:
    (folder / "p.yaml").write_text(text)
    under = scenario(
        {"arrivals": "poisson", "duration": "60s"}, targets={"one": {"latency": {"median": "1s", "p99": "3s"}}}
    )
    return [Job(under, folder / "p.yaml", (), (), seed, plugins=False) for seed in range(count)]


def test_two_processes_give_the_same_bytes_as_one(tmp_path) -> None:
    alone, at_once = (play(jobs(tmp_path), processes) for processes in (1, 2))
    assert msgspec.json.encode(alone) == msgspec.json.encode(at_once)
    assert [each and each.seed for each in at_once] == [0, 1, 2]


@pytest.mark.parametrize("processes", [1, 2])
def test_progress_counts_every_run_of_every_job(tmp_path, processes) -> None:
    told: list[int] = []
    found = play(jobs(tmp_path), processes, told.append)
    assert told == sorted(told) and told[-1] == sum(each.runs for each in found if each is not None)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_job_fails_with_comes_out_and_no_process_is_left(tmp_path, processes) -> None:
    with pytest.raises(SpecError, match="three"):
        play(jobs(tmp_path, text=CHAIN.replace("one, two", "one, three")), processes)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupt_keeps_the_figures_of_the_jobs_that_had_ended(tmp_path, processes) -> None:
    (alone,) = play(jobs(tmp_path, 1), 1)
    assert alone is not None

    sent: list[int] = []

    def interrupt(ended: int) -> None:
        if ended > 3 * alone.runs and not sent:
            sent.append(ended)
            signal.raise_signal(signal.SIGINT)

    with interruptible():
        found = play(jobs(tmp_path, 20), processes, interrupt)
    assert found[0] == alone and found[-1] is None and len(found) == 20
    assert multiprocessing.active_children() == []


def test_there_is_a_core_to_work_on() -> None:
    assert cores() >= 1
