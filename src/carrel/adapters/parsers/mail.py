"""EML: a message as its reader sees it. Attachments are named, not read."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from typing import Final

from carrel.adapters.parsers import decode, html, plain
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.tag_writer import TagWriter
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_SHOWN: Final = ("From", "To", "Cc", "Date", "Subject")
_LONGEST: Final = 2_000  # characters of a header
_DEEPEST: Final = 20
_MOST_PARTS: Final = 1_000
_ENCODED: Final = re.compile(r"=\?[^?\s]{1,40}\?[bBqQ]\?[^?]*\?=")
_WARM_UP: Final = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <a@b.example>\nSubject: =?cp1252?b?3A==?=\nMIME-Version: 1.0\n"
    b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\n"
    b"Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--x\nContent-Type: text/html\n"
    b"Content-Transfer-Encoding: base64\n\nPHA+eA==\n--x\nContent-Disposition: attachment;\n"
    b" filename*=utf-8''%C3%BC.pdf\n\nx\n--x\nContent-Transfer-Encoding: x-uuencode\n\nx\n--x--\n"
)


def prepare() -> None:
    decode.prepare()
    parse(_WARM_UP, key="")


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """The title is the subject. Raises Unreadable `damaged_document` when parts stand too deep or are too many."""
    try:
        message = message_from_bytes(content, policy=compat32)
    except RecursionError as error:
        raise Unreadable("The message is nested too deep.") from error
    draft = Draft()
    _write_headers(draft, message)
    attached = list(_write_parts(draft, message))
    if attached:
        draft.block("list", "\n".join(["Attachments:", *(f"- {name}" for name in attached)]))
    return draft.finish(_header(message, "Subject") or None)


def _write_headers(draft: Draft, message: "Message[str, str]") -> None:
    shown = [f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))]
    draft.block("paragraph", "\n".join(shown))


def _header(message: "Message[str, str]", name: str) -> str:
    value = message.get(name)
    return "" if value is None else _decoded(str(value)[:_LONGEST])


def _decoded(value: str) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    if not _ENCODED.search(value):
        return squeezed(decode.text_of(raw))
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        return squeezed(decode.text_of(raw))
    texts = [
        piece if isinstance(piece, str) else decode.text_of(piece, declared=charset or "utf-8")
        for piece, charset in pieces
    ]
    return squeezed("".join(texts))


def _write_parts(draft: Draft, message: "Message[str, str]") -> Iterator[str]:
    """Writes what is to be read; gives the names of what is attached."""
    waiting, count = [(message, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        count += 1
        if depth > _DEEPEST or count > _MOST_PARTS:
            raise Unreadable("The message has too many parts, or they stand too deep.")
        if depth and _is_attached(part):
            yield _name_of(part)
        elif part.is_multipart():
            waiting += [(inner, depth + 1) for inner in reversed(_chosen(part))]
        elif part.get_content_maintype() == "text":
            _write_text(draft, part)
        elif depth:
            yield _name_of(part)


def _is_attached(part: "Message[str, str]") -> bool:
    kind, name = part.get_content_type(), part.get_filename()
    return part.get_content_disposition() == "attachment" or kind == "message/rfc822" or name is not None


def _chosen(part: "Message[str, str]") -> list["Message[str, str]"]:
    """Of alternatives the plain one, unless it is empty: it says the same as the others."""
    inner = [one for one in part.get_payload() if isinstance(one, Message)]
    if part.get_content_subtype() != "alternative":
        return inner
    texts = [one for one in inner if one.get_content_type() == "text/plain" and _text_of(one).strip()]
    return texts[:1] or inner[-1:]


def _write_text(draft: Draft, part: "Message[str, str]") -> None:
    text = _text_of(part)
    if part.get_content_subtype() == "html":
        writer = TagWriter(draft)
        html.write(writer, text)
        writer.flush()
    else:
        for _, paragraph in plain.paragraphs_of(text):
            draft.block("paragraph", paragraph)


def _text_of(part: "Message[str, str]") -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = part.get_content_charset()
    return decode.text_of(payload, declared=charset)


def _name_of(part: "Message[str, str]") -> str:
    name = part.get_filename()
    if name:
        return _decoded(name[:_LONGEST]) or part.get_content_type()
    inner = part.get_payload()
    letter = inner[0] if isinstance(inner, list) and inner else None
    return (_header(letter, "Subject") if isinstance(letter, Message) else "") or part.get_content_type()
