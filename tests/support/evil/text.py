"""Evil plain text: encodings, characters that are none, and lengths."""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

_SAID = "A plain sentence stands beside the evil.\n\n"
_ACCENTS = "".join(map(chr, range(0x300, 0x36F)))


def _beside(evil: str, encoding: str = "utf-8") -> Callable[[], bytes]:
    return lambda: (_SAID + evil).encode(encoding, "surrogatepass")


def _every_character() -> bytes:
    return "".join(
        chr(code) + (" " if code % 40 else "\n") for code in range(0x20000) if not 0xD800 <= code < 0xE000
    ).encode()


def _noise() -> bytes:
    return random.Random(7).randbytes(200_000)


EVIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "a mark of UTF-8 and nothing": lambda: b"\xef\xbb\xbf",
    "every mark after the other": lambda: b"\xef\xbb\xbf\xff\xfe\xfe\xff\0\0\xfe\xff" + _SAID.encode(),
    "UTF-16": _beside("Größe", "utf-16"),
    "UTF-16 without a mark": _beside("Größe", "utf-16-le"),
    "UTF-16 of an odd length": lambda: _SAID.encode("utf-16") + b"x",
    "UTF-32": _beside("Größe", "utf-32"),
    "UTF-32 of code points that do not exist": lambda: b"\xff\xfe\0\0" + b"\xff\xff\xff\x7f" * 10_000,
    "broken UTF-8": lambda: _SAID.encode() + b"\xff\xfe\xc0\x80\xf8\x88\x80\x80\x80\xed\xa0\x80 " * 10_000,
    "lone surrogates": _beside("\ud800 \udfff \udc00\ud800" * 1_000),
    "lone surrogates in UTF-16": _beside("\ud800x\udfff" * 1_000, "utf-16"),
    "control characters": _beside("".join(map(chr, range(32))) + "\x7f" + "x" * 2_000),
    "escapes of a terminal": _beside("\x1b[2J\x1b]0;title\x07\x1b[31mred\x9b0m" * 3),
    "null characters after the beginning": lambda: _SAID.encode() * 200 + b"\0" * 100,
    "bytes without sense": _noise,
    "every character": _every_character,
    "one line of 20 MB": lambda: b"x" * 20_000_000,
    "one line of 20 MB of words": lambda: b"word " * 4_000_000,
    "one line of 20 MB of signs": lambda: "🙂".encode() * 5_000_000,
    "40 MB of text": lambda: (_SAID * 1_000_000).encode()[:40_000_000],
    "only white space": lambda: b" \t\r\n\x0b\x0c" * 1_000_000,
    "only invisible characters": lambda: "\u200b\u2060\ufeff\u202e\u00ad".encode() * 100_000,
    "two million empty lines": lambda: _SAID.encode() + b"\n" * 2_000_000 + b"x",
    "600,000 paragraphs": lambda: b"a\n\n" * 600_000,
    "text that runs to the left": _beside("\u202eatad terces\u202c \u2066\u2067\u2068 gnp.exe\u202e" * 1_000),
    "letters under a hundred accents": _beside("".join("a" + _ACCENTS for _ in range(2_000))),
    "accents without a letter": _beside(_ACCENTS * 10_000),
    "100,000 letters without a break": _beside("Äß" * 50_000),
    "a megabyte of digits": _beside("1234567890" * 100_000),
    "a megabyte of one letter": lambda: b"x" * 1_000_000,
    "line ends of every kind": _beside("a\r\nb\rc\x85d\u2028e\u2029f\x0bg\x0ch\n\r" * 5_000),
    "words that are not words": _beside("[SEP] [CLS] [MASK] [UNK] [PAD] ##x <s> </s> <|endoftext|> " * 2_000),
})  # fmt: skip
