"""The door: several processes at one port share what comes."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pytest

from carrel.api.door import Door


class Guests(asyncio.Protocol):
    """Counts who came in."""

    def __init__(self) -> None:
        self.transports: list[asyncio.BaseTransport] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transports.append(transport)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


async def let_in(*guests: Guests, rounds: int = 200) -> list[int]:
    for _ in range(rounds):
        await asyncio.sleep(0)
    for transport in (transport for one in guests for transport in one.transports):
        transport.close()
    return [len(one.transports) for one in guests]


def knock(listener: socket.socket, times: int, stack: ExitStack) -> None:
    for _ in range(times):
        stack.enter_context(socket.create_connection(listener.getsockname()))


async def test_connections_that_come_together_are_shared_by_all_doors(listener: socket.socket) -> None:
    busy, idle = Guests(), Guests()
    with listener.dup() as shared, ExitStack() as stack:
        knock(listener, 16, stack)
        doors = [Door(listener, lambda: busy), Door(shared, lambda: idle)]

        taken = await let_in(busy, idle)
        for door in doors:
            door.close()

    assert taken == [8, 8]


async def test_who_waits_is_let_in_at_the_end_and_who_comes_later_waits_for_another_door(
    listener: socket.socket,
) -> None:
    former, latter = Guests(), Guests()
    with ExitStack() as stack:
        closed = Door(listener, lambda: former)
        knock(listener, 3, stack)
        closed.close()
        knock(listener, 2, stack)
        assert await let_in(former) == [3]

        door = Door(listener, lambda: latter)
        assert await let_in(latter) == [2]
        door.close()


async def test_a_process_that_can_open_no_more_files_looks_again_later(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests, looks = Guests(), count()
    monkeypatch.setattr("carrel.api.door._PAUSE", 0.01)
    with ExitStack() as stack:
        full = stack.enter_context(_Full(listener, looks))
        knock(listener, 1, stack)
        door = Door(full, lambda: guests)
        while not guests.transports:  # noqa: ASYNC110 - the door looks by the clock
            await asyncio.sleep(0.01)
        door.close()
        await let_in(guests)

    assert next(looks) == 3  # in vain, for the guest, and at the end


class _Full(socket.socket):
    """As the kernel does when a process has all its files: the first accept fails, and the connection waits."""

    def __init__(self, listener: socket.socket, looks: "count[int]") -> None:
        super().__init__(fileno=listener.dup().detach())
        self._looks = looks

    def accept(self) -> tuple[socket.socket, object]:
        if next(self._looks) == 0:
            raise OSError(24, "Too many open files")
        return super().accept()
