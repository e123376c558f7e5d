"""The chain of seals: what it proves, link by link."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest

from carrel.domain.chain import START, Break, Check, Event, Fault, Seal, canonical, link
from carrel.domain.ids import TenantId
from carrel.operate.seal import chained

TENANT = TenantId(uuid.UUID(int=1))
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)

Link = tuple[Seal, Event | None]


def an_event(number: int) -> Event:
    return Event(
        TENANT,
        uuid.UUID(int=number),
        NOON + timedelta(seconds=number),
        None,
        None,
        "key.created",
        uuid.UUID(int=7),
        "done",
        None,
        {"b": 1, "a": ["ä"]},
    )


EVENTS = [an_event(number) for number in range(1, 7)]
SEALS = chained(None, EVENTS)


def first_break(links: list[Link]) -> Break | None:
    check, following = Check(), [event for _, event in links[1:]] + [None]
    for (seal, event), after in zip(links, following, strict=True):
        found = check.step(seal, event, after)
        if found is not None:
            return found
    return None


def test_canonical_json_is_what_the_documents_say() -> None:
    assert canonical(an_event(1)).decode() == (
        '{"action":"key.created","actor_id":null,"created_at":"2030-01-31T12:00:01.000000+00:00","credential_id":null,'
        '"facts":{"a":["ä"],"b":1},"id":"00000000-0000-0000-0000-000000000001",'
        '"object_id":"00000000-0000-0000-0000-000000000007","request_id":null,"result":"done",'
        '"tenant_id":"00000000-0000-0000-0000-000000000001"}'
    )
    assert link(START, an_event(1)) == sha256(bytes(32) + canonical(an_event(1))).digest()


def test_the_zone_in_which_a_time_is_read_changes_nothing() -> None:
    elsewhere = replace(EVENTS[0], created_at=EVENTS[0].created_at.astimezone(timezone(timedelta(hours=5))))
    assert canonical(elsewhere) == canonical(EVENTS[0])


def test_a_chain_goes_on_where_it_ended() -> None:
    first = chained(None, EVENTS[:2])
    assert [*first, *chained(first[-1], EVENTS[2:])] == SEALS
    assert [seal.position for seal in SEALS] == [1, 2, 3, 4, 5, 6]
    assert first_break(list(zip(SEALS, EVENTS, strict=True))) is None
    assert chained(None, []) == []


def swapped(links: list[Link], one: int, other: int) -> list[Link]:
    """Two events change their places in time."""
    first, second = links[one][1], links[other][1]
    assert first
    assert second
    links[one] = (links[one][0], replace(first, created_at=second.created_at))
    links[other] = (links[other][0], replace(second, created_at=first.created_at))
    return links


def renumbered(links: list[Link], one: int, other: int) -> list[Link]:
    """Two seals change their positions."""
    (first, at_first), (second, at_second) = links[one], links[other]
    links[one] = (replace(second, position=first.position), at_second)
    links[other] = (replace(first, position=second.position), at_first)
    return links


def changed(links: list[Link], place: int, **fields: object) -> list[Link]:
    seal, event = links[place]
    assert event
    links[place] = (seal, replace(event, **fields))  # type: ignore[arg-type]
    return links


SABOTAGE: dict[str, tuple[Callable[[list[Link]], list[Link]], int, Fault]] = {
    "another actor": (lambda links: changed(links, 2, actor=uuid.UUID(int=9)), 3, Fault.CHANGED),
    "another tenant": (lambda links: changed(links, 2, tenant=TenantId(uuid.UUID(int=2))), 3, Fault.CHANGED),
    "another result": (lambda links: changed(links, 0, result="refused"), 1, Fault.CHANGED),
    "another fact": (lambda links: changed(links, 5, facts={"a": ["ä"], "b": 2}), 6, Fault.CHANGED),
    "a little later": (
        lambda links: changed(links, 2, created_at=EVENTS[2].created_at + timedelta(microseconds=1)),
        3,
        Fault.CHANGED,
    ),
    "an event is gone": (lambda links: [*links[:2], (links[2][0], None), *links[3:]], 3, Fault.REMOVED),
    "an event is gone with its seal": (lambda links: [*links[:2], *links[3:]], 3, Fault.SEAL_REMOVED),
    "the first is gone with its seal": (lambda links: links[1:], 1, Fault.SEAL_REMOVED),
    "neighbours in another order": (lambda links: swapped(links, 2, 3), 3, Fault.REORDERED),
    "others in another order": (lambda links: swapped(links, 1, 4), 2, Fault.REORDERED),
    "seals in another order": (lambda links: renumbered(links, 2, 3), 3, Fault.REORDERED),
    "another hash": (
        lambda links: [*links[:3], (replace(links[3][0], hash=bytes(32)), links[3][1]), *links[4:]],
        4,
        Fault.CHANGED,
    ),
}


@pytest.mark.parametrize(("sabotage", "position", "fault"), SABOTAGE.values(), ids=SABOTAGE)
def test_each_change_is_found_where_it_is(
    sabotage: Callable[[list[Link]], list[Link]], position: int, fault: Fault
) -> None:
    found = first_break(sabotage(list(zip(SEALS, EVENTS, strict=True))))
    assert found is not None
    assert (found.position, found.fault) == (position, fault)
