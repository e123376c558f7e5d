"""The word pieces of a text, each with the characters that it stands for."""

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from carrel.domain.errors import Unreadable
from carrel.ports.embedder import MOST_TOKENS, Spans, Tokens

CLS, SEP = 101, 102
MAX_TOKENS = 254  # the model was trained on 256 with its two marks
PIECE = 50_000  # characters read at once: bounds memory, and lets other threads in between
LONGEST = 50_000  # characters more until a boundary is found; then a word, which the model knows to 100, is cut anyway
# White space, ASCII punctuation or a Chinese character: before it a new word begins, whatever stands there. Not all of
# what Unicode calls white space: the tokenizer drops control characters and joins what they part.
BOUNDARY = re.compile(r"[ \t\n\r!-/:-@\[-`{-~\u4e00-\u9fff]")


class WordPieces:
    """May be used by several threads at once."""

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()  # the file asks for 128 tokens, and for padding up to them
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a document is five characters, not the model's mark

    def tokenize(self, text: str) -> Tokens:
        """Only one piece's tokens live at a time as Python's numbers and pairs."""
        ids = array("i")
        spans: list[Spans] = []
        for offset, piece in _pieces(text):
            encoding = self._tokenizer.encode(piece, add_special_tokens=False)
            ids.extend(encoding.ids)
            if len(ids) > MOST_TOKENS:
                raise Unreadable(f"The text has more than {MOST_TOKENS:,} tokens.", code="too_long")
            spans.append(np.array(encoding.offsets, np.int32).reshape(-1, 2) + np.int32(offset))
        return Tokens(ids, np.concatenate(spans) if spans else np.empty((0, 2), np.int32))


def marked(ids: Sequence[int]) -> list[int]:
    """As the model reads a text: between its marks, cut at MAX_TOKENS."""
    return [CLS, *ids[:MAX_TOKENS], SEP]


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Cut where no word and no accent reaches over, so the tokens are those of the whole."""
    # half a surrogate pair cannot leave Python; the question mark keeps its place
    text = text.encode("utf-8", "replace").decode("utf-8")
    start = 0
    while start < len(text):
        most = start + PIECE + LONGEST
        boundary = BOUNDARY.search(text, start + PIECE, most)
        end = boundary.start() if boundary else min(most, len(text))
        yield start, text[start:end]
        start = end
