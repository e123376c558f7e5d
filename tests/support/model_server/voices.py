"""What a model says: faithful to its evidence, wrong, endless, or at the mercy of what a document tells it to do."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from typing import Final, Protocol
from urllib.parse import quote

_PIECE: Final = re.compile(r"\s?\w{1,5}|\s?[^\w\s]|\s")
_FENCED: Final = re.compile(r"<passage n=\"(\d+)\">\nFrom: [^\n]*\n(.*?)\n</passage>", re.DOTALL)
_NUMBERED: Final = re.compile(r"^[ \t]*\[(\d+)\]((?:[^\n]|\n(?!\n))*)", re.MULTILINE)
_REWRITTEN: Final = re.compile(r"<last_question>\n(.*?)\n</last_question>", re.DOTALL)
_ORDER: Final = re.compile(
    r"\b(?:write|append|output|say|repeat|include|print|answer|reply|add|insert|render|end|begin|show)\b[^:\n]{0,80}:\s*"
    r"(.+?)(?=\n\s*\n|\n<|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CITED: Final = 2


class Listener(Protocol):
    """What a voice knows: the request."""

    @property
    def messages(self) -> Sequence[tuple[str, str]]: ...

    @property
    def question(self) -> str: ...

    @property
    def everything(self) -> str: ...


Voice = Callable[[Listener], Iterator[str]]
"""From what was told to pieces of one token each, which may never end."""


def pieces(text: str) -> list[str]:
    """A token is up to five letters or one sign, with the space before it: links and marks come in several."""
    return _PIECE.findall(text)


def tokens(text: str) -> int:
    return len(pieces(text))


def says(text: str) -> Voice:
    """This, whatever it is told."""
    return lambda _: iter(pieces(text))


def echoes(told: Listener) -> Iterator[str]:
    return iter(pieces(told.question))


def cites(told: Listener) -> Iterator[str]:
    """The first sentence of the first passages, each with its number; a question to be rewritten stays as it is."""
    rewritten = _REWRITTEN.search(told.question)
    if rewritten:
        return iter(pieces(rewritten[1]))
    lines = [f"{_sentence(text)} [{n}]" for n, text in evidence(told.everything)[:_CITED]]
    return iter(pieces(" ".join(lines))) if lines else echoes(told)


def cites_wrongly(told: Listener) -> Iterator[str]:
    """Numbers that no passage has, in the forms in which models write them."""
    highest = max((n for n, _ in evidence(told.everything)), default=0)
    return iter(pieces(f"It is so [{highest + 1}]. Surely [0] and [999], see [{highest + 7}, {highest + 8}]. [source]"))


def obeys(told: Listener) -> Iterator[str]:
    """A model under injection: it writes what the documents order, and all of a document that orders nothing.

    `{question}`, `{prompt}` in an order stand for what it was asked and all it was told, quoted for a URL.
    """
    found = evidence(told.everything)
    written = []
    for n, text in found:
        orders = _ORDER.findall(text) or [text]
        written += [f"{_filled(order, told)} [{n}]" for order in orders]
    return iter(pieces("\n\n".join(written) or told.everything))


def talks(_: Listener) -> Iterator[str]:
    """250 tokens, as an answer of ten sentences has them, each of which names the first passage."""
    sentence = pieces(f"{' '.join(['so'] * 20)}. [1]\n")
    return iter(sentence * 10)


def rambles(_: Listener) -> Iterator[str]:
    """Never stops."""
    return (f" word{n}" for n in count())


def evidence(text: str) -> list[tuple[int, str]]:
    """The passages in a prompt, by number: fenced as Carrel does it, or paragraphs that begin with `[n]`."""
    return [(int(n), passage.strip()) for n, passage in _FENCED.findall(text) or _NUMBERED.findall(text)]


def embedding(text: str, dimensions: int) -> list[float]:
    """Of length 1: each word adds one sign at one place, so texts that share words are near each other."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        digest = int.from_bytes(sha256(word.encode()).digest()[:8], "big")
        vector[(digest >> 1) % dimensions] += 1.0 if digest & 1 else -1.0
    if not any(vector):
        vector[0] = 1.0
    norm = math.sqrt(sum(value * value for value in vector))
    return [value / norm for value in vector]


def _sentence(text: str) -> str:
    plain = re.sub(r"</?\w[^>]*>", " ", text)
    return re.split(r"(?<=[.!?])\s", " ".join(plain.split()))[0]


def _filled(order: str, told: Listener) -> str:
    return order.replace("{question}", quote(told.question)).replace("{prompt}", quote(told.everything))
