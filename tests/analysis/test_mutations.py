"""A sample of `make bench NAME=mutations`: edits that alter behaviour are told, and rewritings are silence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks import mutations
from benchmarks.bases import bases
from benchmarks.edits import SPECIAL, edits, slots
from benchmarks.rewritings import rewritings
from wizard_dsl.registry import Registry

EVERY = 67


def test_every_sampled_edit_is_told_and_no_sampled_rewriting() -> None:
    changed, neutral = mutations.score(lambda index: index % EVERY == 5)
    assert (changed.wrong, neutral.wrong) == ([], [])
    assert changed.told == changed.whole > 20 and neutral.whole > 15


def test_edits_and_rewritings_are_made_for_every_kind_of_component() -> None:
    registry = Registry(plugins=False)
    found = bases(registry)
    assert len(found) == 2 + len(registry.all_strategies()) + len(registry.all_providers())
    fields = {edit.field for base in found.values() for edit in edits(base.data, registry) if base.has(edit.path)}
    configs = [each.config for each in (*registry.all_policies(), *registry.all_providers(), *registry.all_steps())]
    for config in configs:
        assert not config.__struct_fields__ or any(each.startswith(f"{config.__name__}.") for each in fields), config
    assert all(any(True for _ in rewritings(base, registry)) for base in list(found.values())[:3])


def test_every_field_has_an_edit_of_its_own_or_of_what_lies_in_it() -> None:
    registry = Registry(plugins=False)
    for base in bases(registry).values():
        found = list(slots(base.data, registry))
        edited, paths = {edit.field for edit in edits(base.data, registry)}, {slot.path for slot in found}
        for slot in found:
            for field in msgspec.structs.fields(slot.shape):
                own, name = f"{slot.shape.__name__}.{field.encode_name}", field.encode_name
                holds = SPECIAL.get(own, SPECIAL.get(name)) == [] or (*slot.path, name) in paths
                assert own in edited or holds, own


def test_the_score_notices_a_diff_that_tells_nothing_or_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def pick(index: int) -> bool:
        return index in {40, 41}

    monkeypatch.setattr(mutations, "differences", lambda old, new: [])
    assert len(mutations.score(pick)[0].wrong) == 2
    told = mutations.differences
    assert told(None, None) == [] and Path(mutations.__file__).name == "mutations.py"
