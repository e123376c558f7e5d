"""Labelled sets: documents, questions about them, and which document answers which question.

A set is a folder in the form of BEIR (Thakur et al., 2021): `corpus.jsonl` (`id`, `title`, `text`), `queries.jsonl`
(`id`, `text`, and `answerable` where some questions have no answer) and `qrels.tsv` (query, document, relevance, with
or without a line of headings). BEIR's own spelling is read too: `_id`, and `qrels/test.tsv`.

A folder of Markdown files without these is a set as well: each file is asked for by its first heading.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from carrel.ask.question import judged
from carrel.domain.errors import Invalid
from carrel.domain.keys import title_from_key

_CORPUS, _QUERIES, _QRELS = "corpus.jsonl", "queries.jsonl", ("qrels.tsv", "qrels/test.tsv")
_HEADING: Final = re.compile(r"^#[ \t]+(\S.*?)[ \t#]*$", re.MULTILINE)
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

T = TypeVar("T", "SetDocument", "SetQuery")


class BadSet(Invalid):
    """A set that cannot be used; the sentence names the file, and the line where there is one."""

    default_code = "invalid_set"


@dataclass(frozen=True, slots=True)
class SetDocument:
    """`key` and `content` are the file that is uploaded for it."""

    id: str
    title: str
    text: str
    key: str
    content: str


@dataclass(frozen=True, slots=True)
class SetQuery:
    """`answerable` is None where the set does not say."""

    id: str
    text: str
    answerable: bool | None = None


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """`qrels` gives for a query's id the relevance (0 and up) of documents' ids; what it does not name has 0."""

    name: str
    corpus: tuple[SetDocument, ...]
    queries: tuple[SetQuery, ...]
    qrels: Mapping[str, Mapping[str, int]]

    @property
    def tells_answerable(self) -> bool:
        """Whether the set itself has questions without an answer."""
        return any(query.answerable is False for query in self.queries)

    @property
    def ranked(self) -> tuple[SetQuery, ...]:
        """The questions by which a ranking can be judged: answerable, with a relevant document."""
        return tuple(query for query in self.queries if query.answerable is not False and self.relevant(query.id))

    def sampled(self, most: int) -> "LabelledSet":
        """With no more questions than that, taken evenly from all; with all the documents."""
        if len(self.queries) <= most:
            return self
        chosen = tuple(self.queries[number * len(self.queries) // most] for number in range(most))
        return replace(self, queries=chosen)

    def relevant(self, query: str) -> frozenset[str]:
        """The ids of the documents that answer it."""
        return frozenset(document for document, relevance in self.qrels.get(query, {}).items() if relevance > 0)


def load_set(folder: Path) -> LabelledSet:
    """Named by its folder. Raises BadSet: `set_missing`, `invalid_set`, `unknown_in_set`, `empty_set`."""
    if not folder.is_dir():
        raise BadSet(f"There is no folder {folder}.", code="set_missing")
    return _labelled(folder) if _has_labels(folder) else _shelf(folder)


# A folder with labels


def _has_labels(folder: Path) -> bool:
    return any((folder / name).exists() for name in (_CORPUS, _QUERIES, *_QRELS))


def _labelled(folder: Path) -> LabelledSet:
    corpus = _by_id(_document(row) for row in _rows(folder / _CORPUS))
    queries = _by_id(_query(row) for row in _rows(folder / _QUERIES))
    qrels = _qrels(_first_of(folder, _QRELS), queries.keys(), corpus.keys())
    return LabelledSet(folder.resolve().name, tuple(corpus.values()), tuple(queries.values()), qrels)


@dataclass(frozen=True, slots=True)
class _Placed(Generic[T]):
    """What a line holds, and where the line stands."""

    held: T
    row: "_Row"


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a file. `wrong` gives the refusal that names it."""

    path: Path
    number: int
    fields: Mapping[str, Any]

    def wrong(self, reason: str) -> BadSet:
        return _wrong(self.path, self.number, reason)

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of the fields that is there. Raises BadSet."""
        for name in names:
            if name in self.fields:
                value = self.fields[name]
                break
        else:
            value = default
        if not isinstance(value, str):
            raise self.wrong(f"{names[0]!r} is missing or no text.")
        if not _is_whole(value):
            raise self.wrong(f"{names[0]!r} holds half a character.")
        return value


def _rows(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            raise _wrong(path, number, "This is not JSON.") from None
        if not isinstance(fields, dict):
            raise _wrong(path, number, "This is no JSON object.")
        yield _Row(path, number, fields)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that hold something, counted from 1. Raises BadSet."""
    if not path.is_file():
        raise BadSet(f"There is no file {path}.", code="set_missing")
    empty = True
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise _wrong(path, number, "This is not UTF-8.") from None
            if text.strip():
                empty = False
                yield number, text
    if empty:
        raise BadSet(f"{path} is empty.", code="empty_set")


def _by_id(placed: Iterator[_Placed[T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for one in placed:
        if one.held.id in found:
            raise one.row.wrong(f"The id {one.held.id!r} stands there twice.")
        found[one.held.id] = one.held
    return found


def _document(row: _Row) -> _Placed[SetDocument]:
    """With a title it is a Markdown file that begins with it, else plain text."""
    name, title, text = _id(row), row.text("title", default="").strip(), row.text("text")
    key = quote(name, safe=" ,;=+()") + (".md" if title else ".txt")
    content = f"# {' '.join(title.split())}\n\n{text}" if title else text
    return _Placed(SetDocument(name, title, text, key, content), row)


def _query(row: _Row) -> _Placed[SetQuery]:
    answerable = row.fields.get("answerable")
    if not isinstance(answerable, bool | None):
        raise row.wrong("'answerable' is neither true nor false.")
    text = row.text("text")
    try:
        question = judged(text, field_name="text")
    except Invalid as problem:
        raise row.wrong(f"This is no question: {problem.detail}") from None
    return _Placed(SetQuery(_id(row), question, answerable), row)


def _id(row: _Row) -> str:
    name = row.text("id", "_id")
    if not name.strip():
        raise row.wrong("The id is empty.")
    return name


def _is_whole(text: str) -> bool:
    """JSON can name halves of characters, which no file can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _first_of(folder: Path, names: tuple[str, ...]) -> Path:
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _qrels(path: Path, queries: Collection[str], documents: Collection[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != 3:  # noqa: PLR2004 - query, document, relevance
            raise _wrong(path, number, "This is not a query, a document and a relevance, with tabs between.")
        query, document, relevance = fields
        if number == 1 and not _is_number(relevance):
            continue
        if not _is_number(relevance):
            raise _wrong(path, number, f"The relevance {relevance!r} is no whole number.")
        if query not in queries:
            raise _wrong(path, number, f"{_QUERIES} has no query {query!r}.", code="unknown_in_set")
        if document not in documents:
            raise _wrong(path, number, f"{_CORPUS} has no document {document!r}.", code="unknown_in_set")
        found.setdefault(query, {})[document] = int(relevance)
    if not found:
        raise BadSet(f"{path} labels nothing.", code="empty_set")
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+", text, re.ASCII) is not None


def _wrong(path: Path, number: int, reason: str, *, code: str | None = None) -> BadSet:
    return BadSet(f"{path}, line {number}: {reason}", code=code)


# A folder of Markdown files


def _shelf(folder: Path) -> LabelledSet:
    """Files with the same heading answer the same question."""
    corpus = tuple(_file(folder, path) for path in sorted(folder.rglob("*.md")) if _is_shown(folder, path))
    answers: dict[str, list[str]] = {}
    for document in corpus:
        if heading := _heading_of(document.text):
            answers.setdefault(heading, []).append(document.id)
    if not answers:
        raise BadSet(f"{folder} holds neither {_CORPUS} nor Markdown files with a heading.", code="empty_set")
    return LabelledSet(
        name=folder.resolve().name,
        corpus=corpus,
        queries=tuple(SetQuery(heading, _question(heading)) for heading in answers),
        qrels={heading: dict.fromkeys(documents, 1) for heading, documents in answers.items()},
    )


def _is_shown(folder: Path, path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _file(folder: Path, path: Path) -> SetDocument:
    key = path.relative_to(folder).as_posix()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadSet(f"{path} is not UTF-8.") from None
    return SetDocument(key, _heading_of(text) or title_from_key(key), text, key, text)


def _heading_of(text: str) -> str | None:
    found = _HEADING.search(_FENCE.sub("", text))
    return found[1] if found else None


def _question(heading: str) -> str:
    """One word is the name of an alert or of a thing; several are a subject."""
    if len(heading.split()) == 1:
        return f"What does {heading} mean, and how is it mitigated?"
    return f"What is to be known about this: {heading}?"
