"""The transport that is made with the first request."""

from __future__ import annotations

import pytest
from server_kit import read_all

from wizard_dsl.core.http import HttpRequest, PoolConfig
from wizard_dsl.runtime.on_demand import OnDemand
from wizard_dsl.testing import virtual
from wizard_dsl.testing.transport import Reply, ScriptedTransport

REQUEST = HttpRequest("POST", "http://p.test/", {}, b"{}", pool="p")


def test_nothing_is_made_before_the_first_request_and_pools_are_configured_then() -> None:
    made: list[ScriptedTransport] = []

    def make() -> ScriptedTransport:
        made.append(ScriptedTransport([Reply(body=b"1"), Reply(body=b"2")]))
        return made[-1]

    async def main() -> None:
        transport = OnDemand(make)
        transport.configure("p", PoolConfig(size=3))
        assert (made, transport.figures()) == ([], [])
        assert await read_all(await transport.send(REQUEST)) == b"1"
        assert await read_all(await transport.send(REQUEST)) == b"2"
        assert len(made) == 1
        await transport.close()
        with pytest.raises(RuntimeError, match="closed"):
            await transport.send(REQUEST)

    virtual.run(main())


def test_one_that_was_never_used_closes_without_being_made() -> None:
    async def main() -> None:
        await OnDemand(lambda: pytest.fail("it was made")).close()

    virtual.run(main())
