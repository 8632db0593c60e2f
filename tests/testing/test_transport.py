"""The scripted transport does what it is told, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from server_kit import read_all

from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, PoolConfig
from wizard_dsl.testing import virtual
from wizard_dsl.testing.transport import Reply, ScriptedTransport

REQUEST = HttpRequest("POST", "http://x", {}, b"{}")


def run(use, *replies):
    async def main():
        return await use(ScriptedTransport(replies), asyncio.get_running_loop())

    return virtual.run(main())


def test_chunks_arrive_after_their_delays():
    async def use(transport, loop):
        answer = await transport.send(REQUEST)
        seen = [(loop.time(), await answer.read_some(), loop.time()) for _ in range(3)]
        answer.release()
        return answer.status, answer.headers, seen, transport.released, transport.sent

    reply = Reply(status=201, headers={"X-A": "1"}, delay=1.0, chunks=((2.0, b"a"), (3.0, b"b")))
    seen = [(1.0, b"a", 3.0), (3.0, b"b", 6.0), (6.0, b"", 6.0)]
    assert run(use, reply) == (201, {"x-a": "1"}, seen, 1, [REQUEST])


@pytest.mark.parametrize(("reply", "error"), [(Reply(refuse=True), ConnectFailed), (Reply(lost=True), ConnectionLost)])
def test_a_connection_that_fails(reply, error):
    async def use(transport, loop):
        with pytest.raises(error):
            await transport.send(REQUEST)

    run(use, reply)


def test_a_stale_connection_says_so_and_a_broken_body_comes_after_its_chunks():
    async def use(transport, loop):
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(REQUEST)
        answer = await transport.send(REQUEST)
        assert await answer.read_some() == b"a"
        with pytest.raises(ConnectionLost):
            await read_all(answer)
        return caught.value.stale

    assert run(use, Reply(lost="stale"), Reply(body=b"a", lost="body"))


def test_a_cancelled_read_goes_on_where_it_was():
    async def use(transport, loop):
        answer = await transport.send(REQUEST)
        pending = asyncio.ensure_future(answer.read_some())
        await asyncio.sleep(2)
        pending.cancel()
        return await read_all(answer), loop.time()

    assert run(use, Reply(chunks=((5.0, b"a"),))) == (b"a", 5.0)


def test_aborting_wakes_a_stalled_read():
    async def use(transport, loop):
        answer = await transport.send(REQUEST)
        pending = asyncio.ensure_future(answer.read_some())
        await asyncio.sleep(1)
        answer.abort()
        answer.abort()
        answer.release()
        with pytest.raises(ConnectionLost):
            await pending
        with pytest.raises(ConnectionLost):
            await answer.read_some()
        return transport.aborted, transport.released

    assert run(use, Reply(stall=True)) == (1, 0)


def test_a_request_beyond_the_script_is_a_mistake_of_the_test():
    async def use(transport, loop):
        transport.configure("p", PoolConfig())
        transport.add(Reply(body=b"a"))
        assert await read_all(await transport.send(REQUEST)) == b"a"
        with pytest.raises(AssertionError, match="no reply is scripted"):
            await transport.send(REQUEST)
        await transport.close()
        return transport.figures()

    assert run(use) == []
