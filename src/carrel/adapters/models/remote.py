"""A model elsewhere: one stream, three limits of time, and a few more tries before its first word."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Final, TypeGuard, TypeVar

from carrel.adapters.models.breaker import Circuit
from carrel.adapters.models.calls import Account, Failed, Piece, Told, Wire, broke_off
from carrel.adapters.models.clients import Clients
from carrel.domain.answers import Usage
from carrel.domain.errors import ModelFailed
from carrel.ports.model import LONGEST_TOKEN, Draft, Message, Prompt, Speaker, weight

Result = TypeVar("Result")

TEMPERATURE: Final = 0.2

_MOST_TRIES: Final = 3
_FIRST_PAUSE: Final = 0.5
_MOST_LIKELY: Final = 10_000_000  # tokens of one call
_AFTERWARDS: Final = 5.0  # seconds for the usage, when the last word has been said
_BREAKS: Final = frozenset({"model_failed", "model_throttled", "model_unreachable"})  # in the middle of an answer


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a connection; to the first word, with everything that is tried before; and for the whole answer."""

    connect: float = 10.0
    first_token: float = 30.0
    whole: float = 120.0


Sleep = Callable[[float], Awaitable[None]]


class Remote:
    """Temperature is 0.2.

    Tokens are booked as the provider reports them. Of a stream without a report (it broke before, or there is none)
    each piece that came is a token: it holds one at least; and what was read is estimated as soon as there is a word,
    by `weight`, which is more rather than less. Before the first word nothing is known to have been read.
    """

    follows_instructions: Final = True

    def __init__(
        self,
        account: Account,
        model: str,
        clients: Clients,
        circuit: Circuit,
        *,
        context_tokens: int,
        patience: Patience,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._account = account
        self._model = model
        self._clients = clients
        self._circuit = circuit
        self._context_tokens = context_tokens
        self._patience = patience
        self._sleep = sleep

    @property
    def name(self) -> str:
        return f"{self._account.provider}:{self._model}"

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    async def write(self, prompt: Prompt) -> AsyncGenerator[Draft]:
        """Raises ModelFailed."""
        told = self._told(prompt)
        tally = _Tally(self.name, unreported=sum(weight(message.text) for message in told.messages))
        left = prompt.most_tokens * LONGEST_TOKEN
        with self._circuit.call() as circuit:
            async with self._clients.using(self._account) as wire, aclosing(self._tried(wire, told, tally)) as pieces:
                async for piece in pieces:
                    if piece.text:
                        circuit.speaks()
                    left -= len(piece.text)
                    if left < 0:
                        raise ModelFailed("The model did not stop where it was told to.")
                    yield Draft(piece.text, tally.counted(piece))

    def _told(self, prompt: Prompt) -> Told:
        messages = prompt.messages or (Message(Speaker.USER, prompt.question),)
        return Told(self._model, messages, prompt.most_tokens, TEMPERATURE, self._context_tokens)

    async def _tried(self, wire: Wire, told: Told, tally: "_Tally") -> AsyncGenerator[Piece]:
        """Again only before the first word, and only if the wait ends before the time for it does."""
        with closing(_Watch(self._patience)) as watch:
            for tries in range(1, _MOST_TRIES + 1):
                try:
                    async with aclosing(_whole(wire, told, watch)) as pieces:
                        async for piece in pieces:
                            yield piece
                except Failed as failure:
                    if watch.has_begun:
                        raise (broke_off() if failure.code in _BREAKS else failure) from None
                    pause = _pause(failure, tries)
                    if not failure.again or tries == _MOST_TRIES or pause >= watch.left:
                        raise
                    tally.start_again()
                    await watch.wait(self._sleep(pause))
                else:
                    return


async def _whole(wire: Wire, told: Told, watch: "_Watch") -> AsyncGenerator[Piece]:
    """One stream, which must say that it was whole. What fails after that is not missed."""
    is_whole = False
    async with aclosing(wire.stream(told)) as pieces:
        while True:
            try:
                piece = await watch.wait(anext(pieces, None), at_most=_AFTERWARDS if is_whole else None)
            except ModelFailed:
                if is_whole:
                    return
                raise
            if piece is None:
                break
            is_whole = is_whole or piece.is_last
            watch.has_begun = watch.has_begun or bool(piece.text)
            yield piece
    if not is_whole:
        raise Failed("The model stopped without saying that it was done.", code="model_broke_off")
    if not watch.has_begun:
        raise Failed("The model wrote nothing: it may have used up its tokens by thinking.", code="model_failed")


def _pause(failure: Failed, tries: int) -> float:
    """As long as the provider says; else half a second, doubled each time, up to a fifth more or less."""
    if failure.wait is not None:
        return failure.wait
    return _FIRST_PAUSE * float(2 ** (tries - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - it only spreads the load


class _Watch:
    """Counts the time that we wait for the provider, never a slow reader's.

    One timer for all waits of a task: it looks when it is due, and is set anew only then. A timer, and a context, for
    each token cost more than reading it.
    """

    def __init__(self, patience: Patience) -> None:
        self._first = patience.first_token
        self._whole = patience.whole
        self._waited = 0.0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._until = 0.0
        self._has_struck = False
        self.has_begun = False

    @property
    def left(self) -> float:
        limit = self._whole if self.has_begun else min(self._first, self._whole)
        return max(limit - self._waited, 0.0)

    async def wait(self, coming: Awaitable[Result], *, at_most: float | None = None) -> Result:
        """Raises Failed `model_timeout`."""
        task, started = asyncio.current_task(), self._loop.time()
        assert task is not None
        cancelled = task.cancelling()
        self._task, self._until = task, started + (self.left if at_most is None else min(self.left, at_most))
        if self._timer is None or self._timer.when() > self._until:
            self._set()
        try:
            return await coming
        except asyncio.CancelledError:
            if not self._has_struck or task.cancelling() > cancelled + 1:  # somebody else cancels it
                raise
            late = "finish its answer" if self.has_begun else "begin its answer"
            raise Failed(f"The model did not {late} in time.", code="model_timeout") from None
        finally:
            if self._has_struck:
                task.uncancel()
            self._task, self._has_struck = None, False
            self._waited += self._loop.time() - started

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._until:
            self._set()
            return
        self._has_struck = True
        self._task.cancel()


class _Tally:
    """Tokens so far: those of former tries, and of this one the latest report, or the pieces if they are more.

    `unreported` is what was read, as long as there are words and no report.
    """

    def __init__(self, model: str, *, unreported: int) -> None:
        self._model = model
        self._unreported = unreported
        self._before = Usage(0, 0, model)
        self._read: int | None = None
        self._written = self._pieces = 0
        self._has_words = self._is_done = False

    def counted(self, piece: Piece) -> Usage:
        self._pieces += bool(piece.text)
        self._has_words = self._has_words or bool(piece.text)
        self._is_done = self._is_done or piece.is_last
        self._read = piece.input_tokens if _is_likely(piece.input_tokens) else self._read
        if _is_likely(piece.output_tokens):
            self._written = piece.output_tokens
            self._pieces = 0 if self._is_done else self._pieces
        return self._total()

    def start_again(self) -> None:
        self._before = self._total()
        self._read, self._written, self._pieces = None, 0, 0
        self._has_words = self._is_done = False

    def _total(self) -> Usage:
        estimated = self._unreported if self._has_words else 0
        read = estimated if self._read is None else self._read
        written = max(self._written, self._pieces)
        return Usage(self._before.input_tokens + read, self._before.output_tokens + written, self._model)


def _is_likely(count: int | None) -> TypeGuard[int]:
    """Whether a provider's number can be one of tokens: it is added up, and kept."""
    return count is not None and 0 <= count <= _MOST_LIKELY
