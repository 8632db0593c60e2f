"""Cassettes: exchanges with providers, recorded once and replayed offline, below all policies.

    async with open_recorded("triage.yaml", "triage.cassette.jsonl") as (pipeline, cassette):
        result = await pipeline.run(ticket="My invoice is wrong")

What is recorded are attempts, not answers, so a replay runs the real retries, breakers, limits and fallbacks again, in
virtual time if it runs there. Nothing is written that is a secret, looks like one, or is personal data that has a
shape; see observe.redact and observe.personal.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wizard_dsl import __version__
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.core.component import ModelSpec
from wizard_dsl.core.errors import SpecError
from wizard_dsl.observe.redact import Redaction
from wizard_dsl.providers._config import EndpointConfig
from wizard_dsl.providers._prices import library
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import require, running
from wizard_dsl.spec.diagnostics import Diagnostic, Place, finding, render_text
from wizard_dsl.spec.grammar import is_secret_header
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing._cassette_http import TapeTransport
from wizard_dsl.testing._cassette_lines import VERSION, Header
from wizard_dsl.testing._cassette_node import TapeNode
from wizard_dsl.testing._cassette_tape import CassetteMiss, Record, Tape

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import TargetPlan
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.http import Transport
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.runtime.pipeline import Pipeline

__all__ = ["Cassette", "CassetteMiss", "Record", "open_recorded"]

#: An older recording is worth a warning: providers change what they send.
OLD: Final = timedelta(days=90)
_ANEW: Final = "record it again: --record all"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class Cassette:
    """One file, in the place of the providers of a runtime: `provide` is what `running` and `open` take.

    With `record` "none" everything is answered from the file, with "missing" what it does not hold is asked for and
    added, with "all" everything is, and replaces what was there; `save` writes it. Raises SpecError for a file that
    cannot be used, with every mistake at its line.
    """

    def __init__(
        self, path: str | Path, compiled: Compiled, *, record: Record = "none", held: files.Recording | None = None
    ) -> None:
        """`held` is what is in it by now, where that is known; by default it is read."""
        self.path = Path(path)
        self.record: Record = record
        self._compiled = compiled
        self._held = self._read() if held is None else held
        secrets = secrets_of(compiled)
        self._redaction = Redaction(secrets)
        forms = (self._redaction, Redaction()) if secrets else (self._redaction,)
        exchanges = self._held.exchanges if self._held is not None else ()
        self.tape = Tape(self.path.name, exchanges, record=record, redactions=forms)
        self._clock: Clock | None = None

    def _read(self) -> files.Recording | None:
        """What is there. A file that is no cassette is never written over."""
        if self.record == "none":
            return files.require(self.path)
        if not self.path.exists() or (self.path.is_file() and self.path.stat().st_size == 0):
            return None
        if self.record == "missing":
            return files.require(self.path)
        stranger = [each for each in files.read(self.path).wrong if each.code in ("E001", "E002", "E090")]
        if stranger:
            said = "it would be written over, and it is no cassette; name another file, or remove it"
            raise SpecError(f"{self.path}: {said}\n{render_text(stranger)}", diagnostics=stranger)
        return None

    @property
    def misses(self) -> list[CassetteMiss]:
        """Requests that found no answer, whatever the policies made of it."""
        return self.tape.misses

    @property
    def recorded(self) -> int:
        """Exchanges that were made and not replayed."""
        return len(self.tape.takes)

    def provide(self, plan: TargetPlan, context: BuildContext) -> Node:
        """The node of a target; see compiler.link.Provide. Raises SpecError where a mock would be recorded."""
        from msgspec.structs import replace

        self._clock = context.clock
        keyless = self._compiled.loaded.keyless
        if self.record != "none" and plan.provider in keyless:
            key = keyless[plan.provider]
            raise SpecError(f"recording needs the key of {plan.provider}: set {key}", where=plan.name)
        facts = known_facts(plan, library)
        model = ModelSpec(name=plan.model, target=plan.name, facts=facts, pool=plan.provider)
        if not isinstance(plan.config, EndpointConfig):
            return TapeNode(
                self.tape, lambda: plan.type.build(plan.config, model, context), context.clock, target=plan.name
            )
        base_url = plan.type.endpoint(plan.config)
        http = TapeTransport(self.tape, context.http, context.clock, target=plan.name, base_url=base_url)
        return plan.type.build(plan.config, model, replace(context, http=http))

    def stale(self, wall: float) -> list[Diagnostic]:
        """Warnings: the prompts are not those of the recording, or it is old. `wall` is now, epoch seconds."""
        if self._held is None:
            return []
        header = self._held.header
        found = (changed_prompts(self.path, header, self._compiled), too_old(self.path, header, wall))
        return [each for each in found if each is not None]

    def recording(self) -> files.Recording | None:
        """What was there and what was recorded, complete or cut short; None where that is nothing."""
        held, takes = self._held, self.tape.takes
        if self._clock is None or not takes:
            return held
        now = datetime.fromtimestamp(self._clock.wall(), UTC).strftime(_TIME)
        header = Header(
            cassette=VERSION,
            wizard=__version__,
            recorded_at=held.header.recorded_at if held is not None else now,
            prompts=require(self._compiled).prompts,
            checksum=files.UNSIGNED,
        )
        new = [take.exchange(self._redaction) for take in takes]
        old = held.lines if held is not None else ()
        numbered = enumerate(new, len(old) + 2)
        return files.Recording(
            header,
            (*(held.exchanges if held is not None else ()), *numbered),
            (*old, *map(files.line_of, new)),
        )

    def save(self) -> bool:
        """Write what was recorded in one go; without anything new the file stays as it is. Returns whether it was
        written. Raises OSError."""
        made = self.recording()
        if made is None or not self.tape.takes:
            return False
        files.write(self.path, made.header, made.lines)
        return True


def secrets_of(compiled: Compiled) -> frozenset[str]:
    """The keys that a file knows, those of the files that its steps run among them."""
    found = set(compiled.loaded.secrets)
    programs = [compiled.program] if compiled.program is not None else []
    for program in programs:
        programs += [step.subprogram for step in program.steps if step.subprogram is not None]
        for config in (target.config for chain in program.chains.values() for target in chain.targets):
            if isinstance(config, EndpointConfig):
                found |= {value for name, value in config.headers.items() if is_secret_header(name, value)}
                found |= {config.api_key} if config.api_key is not None else set()
    return frozenset(found)


def changed_prompts(path: Path, header: Header, compiled: Compiled) -> Diagnostic | None:
    """A warning where a cassette was recorded with other prompts."""
    if compiled.program is None or header.prompts == compiled.program.prompts:
        return None
    said = f"the prompts were changed since this was recorded, at {header.recorded_at}"
    return finding("W170", said, Place(str(path), 1, 1), suggestion=_ANEW)


def too_old(path: Path, header: Header, wall: float) -> Diagnostic | None:
    """A warning where a cassette is older than it should be. `wall` is now, epoch seconds."""
    age = datetime.fromtimestamp(wall, UTC) - datetime.strptime(header.recorded_at, _TIME).replace(tzinfo=UTC)
    if age <= OLD:
        return None
    said = f"this was recorded {age.days} days ago; what providers send may have changed"
    return finding("W171", said, Place(str(path), 1, 1), suggestion=_ANEW)


@asynccontextmanager
async def open_recorded(
    path: str | Path,
    cassette: str | Path,
    *,
    record: Record = "none",
    env: Mapping[str, str] | None = None,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    seed: int | None = None,
    transport: Transport | None = None,
) -> AsyncIterator[tuple[Pipeline, Cassette]]:
    """The pipeline of a file on a cassette, and the cassette; what was recorded is written at the end, however it
    comes. A replay needs no keys and no network: run it in virtual time (`virtual.run`), where it takes none.

    `env` are the variables that the file sees (default: the process's own). `transport` makes the exchanges that are
    recorded (default: the network's). Raises SpecError for a file or a cassette
    with errors. A request without an answer raises CassetteMiss, and is among `cassette.misses` whatever the policies
    made of it.
    """
    replays = record == "none"
    variables = dict(os.environ) if env is None else dict(env)
    registry = Registry(plugins=variables.get("WIZARD_PLUGINS", "all") != "")
    sources = Sources(overlays=tuple(overlays), sets=tuple(sets), env=variables, mock=replays)
    compiled = compile_file(path, registry, sources)
    tape = Cassette(cassette, compiled, record=record)
    try:
        async with running(
            compiled,
            registry,
            seed=0 if replays and seed is None else seed,
            mock=replays,
            transport=transport,
            provide=tape.provide,
            stored=False,
        ) as pipeline:
            yield pipeline, tape
    finally:
        tape.save()
