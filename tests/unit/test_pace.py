"""Who was refused comes in evenly, hears the truth about when, and is forgotten."""

import pytest

from carrel.domain.limits import Limit, Standing
from carrel.tenancy import pace
from carrel.tenancy.pace import Pace

SECOND, HOUR = Limit(10, 1), Limit(5, 3600)
WHO = ("search", "somebody")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def refused(limit: Limit, wait: float, remaining: int = 0) -> Standing:
    return Standing(limit, allowed=False, remaining=remaining, wait=wait)


def test_who_was_not_refused_is_held_up_by_nothing(clock: Clock) -> None:
    paced = Pace()
    for _ in range(100):
        assert paced.refusal(SECOND, WHO) is None
        paced.note(Standing(SECOND, allowed=True, remaining=0, wait=1.0), WHO)


def test_after_a_refusal_calls_come_as_far_apart_as_the_limit_has_it(clock: Clock) -> None:
    paced, passed = Pace(), []
    limit = Limit(8, 1)
    paced.note(refused(limit, 0.75), WHO)
    for tick in range(128):
        clock.now = 1000.0 + tick / 64
        if paced.refusal(limit, WHO) is None:
            passed.append(tick)
    assert passed == list(range(48, 128, 8))


def test_whoever_waits_as_it_is_told_has_as_many_calls_as_its_limit_says(clock: Clock) -> None:
    paced, limit, passed = Pace(), Limit(480, 60), 0
    paced.note(refused(limit, 1.0), WHO)
    for _ in range(30):
        clock.now += 1.0  # what Retry-After says at least
        while paced.refusal(limit, WHO) is None:
            passed += 1
    assert passed == 29 * 8 + 1


def test_what_is_told_is_when_the_window_has_room_though_it_is_asked_again_before(clock: Clock) -> None:
    paced = Pace()
    paced.note(refused(HOUR, 600.0), WHO)
    clock.now += 0.5
    assert paced.refusal(HOUR, WHO) == refused(HOUR, 599.5)
    clock.now += 0.5
    assert paced.refusal(HOUR, WHO) is None  # the limiter may have been emptied
    paced.note(refused(HOUR, 599.0), WHO)
    clock.now += 0.25
    assert paced.refusal(HOUR, WHO) == refused(HOUR, 598.75)


def test_of_a_limit_for_a_day_two_calls_are_a_second_apart_at_most(clock: Clock) -> None:
    paced, day = Pace(), Limit(10, 86_400)
    paced.note(refused(day, 0.5), WHO)
    clock.now += 0.5
    assert paced.refusal(day, WHO) is None
    assert paced.refusal(day, WHO) == refused(day, 1.0)


@pytest.mark.parametrize(("limit", "spell"), [(SECOND, 1.0), (HOUR, 60.0)])
def test_it_ends_when_nothing_was_refused_for_as_long_as_the_window_is_a_minute_at_most(
    clock: Clock, limit: Limit, spell: float
) -> None:
    paced = Pace()
    for number in range(100):
        paced.note(refused(HOUR, 600.0), ("search", f"held for longer {number}"))
    paced.note(refused(limit, 0.5), WHO)
    clock.now += 0.5 + spell
    assert [paced.refusal(limit, WHO) for _ in range(20)] == [None] * 20


def test_what_is_left_goes_to_smaller_calls_and_to_others_and_to_other_limits(clock: Clock) -> None:
    paced = Pace()
    paced.note(refused(HOUR, 600.0, remaining=2), WHO)
    assert paced.refusal(HOUR, WHO) is None
    paced.note(refused(HOUR, 600.0), WHO)
    assert paced.refusal(HOUR, ("search", "somebody else")) is None
    assert paced.refusal(SECOND, WHO) is None
    assert paced.refusal(HOUR, WHO) is not None


def test_it_keeps_those_alone_that_were_refused_lately(clock: Clock) -> None:
    paced = Pace()
    for number in range(1_000):
        paced.note(refused(SECOND, 0.5), ("search", str(number)))
    clock.now += 2.0
    for number in range(600):
        paced.refusal(SECOND, ("search", f"later {number}"))
    assert not paced._held
    paced.note(refused(SECOND, 0.5), WHO)
    paced.clear()
    assert paced.refusal(SECOND, WHO) is None
