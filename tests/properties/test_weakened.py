"""`make bench NAME=weakened`: every bound is weakened as it says, and random runs notice one that is."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from benchmarks.weakened import WEAKENINGS, Weakening, changed, notice


@pytest.mark.parametrize("weakening", WEAKENINGS, ids=lambda each: each.name)
def test_a_weakening_changes_a_function(weakening: Weakening) -> None:
    assert changed(weakening)


def test_what_is_nowhere_is_no_weakening() -> None:
    with pytest.raises(ValueError, match="there is no 'nonsense'"):
        changed(Weakening("core.bound", "nonsense", ""))
    with pytest.raises(ValueError, match="in no function of"):
        changed(Weakening("core.bound", "import math", "import  math"))


def test_a_run_that_needs_more_than_a_weakened_plan_is_noticed() -> None:
    fewer = next(each for each in WEAKENINGS if "max(1, most - 1)" in each.after)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(notice, fewer, 60).result() is not None
