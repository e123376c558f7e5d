"""Mail against a real server on loopback, and into a folder."""

import stat
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from carrel.adapters.mail.message import message_of
from carrel.adapters.mail.outbox import Outbox
from carrel.adapters.mail.smtp import SmtpMailer, SmtpServer
from carrel.domain.addresses import email_address
from carrel.domain.errors import Invalid, Unavailable
from carrel.domain.mail import Letter
from carrel.ports.mail import Undeliverable
from support.post import PostOffice, a_certificate, a_post_office

LETTER = Letter(uuid.uuid4(), "ada@people.example", "Your code", "Your code: 123456\n")
CLEAR = SmtpServer("127.0.0.1", 0, "carrel@carrel.example", tls="none")


def mailer(office: PostOffice, **more: object) -> SmtpMailer:
    return SmtpMailer(replace(CLEAR, port=office.port, **more), timeout=5)  # type: ignore[arg-type]


async def test_a_letter_arrives_as_it_was_written() -> None:
    async with a_post_office() as office:
        await mailer(office).send(LETTER)
    (letter,) = office.letters
    assert (letter["To"], letter["From"], letter["Subject"]) == (LETTER.to, CLEAR.sender, LETTER.subject)
    assert letter.get_content().replace("\r\n", "\n") == LETTER.text
    assert letter["Message-ID"] == f"<{LETTER.id}@carrel.example>"


@pytest.mark.parametrize("at_once", [True, False], ids=["tls", "starttls"])
async def test_a_letter_travels_under_tls_with_a_password(tmp_path: Path, *, at_once: bool) -> None:
    server, client = a_certificate(tmp_path)
    async with a_post_office(password="right", tls=server, at_once=at_once) as office:
        secured = replace(CLEAR, port=office.port, username="carrel", tls="tls" if at_once else "starttls")
        await SmtpMailer(replace(secured, password="right"), context=client).send(LETTER)
        assert (len(office.letters), office.logins) == (1, ["carrel"])

        with pytest.raises(Unavailable, match="name and the password"):
            await SmtpMailer(replace(secured, password="wrong"), context=client).send(LETTER)
        with pytest.raises(Unavailable, match="certificate is not believed"):
            await SmtpMailer(replace(secured, password="right")).send(LETTER)
    assert len(office.letters) == 1


async def test_no_letter_is_sent_in_clear_where_tls_was_asked_for() -> None:
    async with a_post_office() as office:
        with pytest.raises(Unavailable):
            await mailer(office, tls="starttls").send(LETTER)
    assert office.letters == []


async def _for_ever(office: PostOffice) -> None:
    office.on_rcpt = "550 no such mailbox"


async def _for_ever_later(office: PostOffice) -> None:
    office.on_data = "554 I do not like this"


async def _for_now(office: PostOffice) -> None:
    office.on_rcpt = "450 greylisted"


async def _for_now_later(office: PostOffice) -> None:
    office.on_data = "451 come back"


@pytest.mark.parametrize(
    ("mood", "refusal"),
    [
        (_for_ever, Undeliverable),
        (_for_ever_later, Undeliverable),
        (_for_now, Unavailable),
        (_for_now_later, Unavailable),
    ],
)
async def test_what_the_server_says_decides_whether_it_is_tried_again(
    mood: Callable[[PostOffice], Awaitable[None]], refusal: type[Exception]
) -> None:
    async with a_post_office() as office:
        await mood(office)
        with pytest.raises(refusal):
            await mailer(office).send(LETTER)
    assert office.letters == []


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    async with a_post_office() as office:
        office.silent = True
        with pytest.raises(Unavailable):
            await SmtpMailer(replace(CLEAR, port=office.port), timeout=0.2).send(LETTER)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with a_post_office() as office:
        pass
    with pytest.raises(Unavailable) as refusal:
        await mailer(office).send(LETTER)
    assert refusal.value.code == "mail_unavailable"


async def test_nothing_but_the_text_can_be_written_into_a_letter() -> None:
    async with a_post_office() as office:
        for bad in (
            replace(LETTER, to="a@b.example\r\nBcc: c@d.example"),
            replace(LETTER, subject="x\nBcc: c@d.example"),
        ):
            with pytest.raises(Undeliverable):
                await mailer(office).send(bad)
    assert office.letters == []


async def test_an_encoded_word_in_a_subject_begins_no_header() -> None:
    """The name of an organisation is its owner's to choose."""
    for word in ("=?utf-8?q?x=0a=0dBcc:=20c@d.example?=", "=?utf-8?q?x=0d=0a=0d=0aforged?=", "=?utf-8?b?DQpYOiB5?="):
        written = message_of(
            replace(LETTER, subject=f"You are invited to {word}"), sender="carrel@localhost"
        ).as_bytes()
        letter = message_from_bytes(written, policy=policy.default)
        assert (letter["To"], letter.get_content()) == (LETTER.to, LETTER.text)
        assert {"Bcc", "X"}.isdisjoint(letter.keys())
        assert len(letter["Subject"].splitlines()) == 1


@pytest.mark.parametrize("local", ["=?utf-8?q?victim=40corp.example=2c?=", "=?utf-8?q?a=0d=0abcc=3ab?=", "=?x?q?aa?="])
def test_an_encoded_word_is_no_address(local: str) -> None:
    """A mail program would read another address there."""
    with pytest.raises(Invalid):
        email_address(f"{local}@people.example")


async def test_the_outbox_keeps_each_letter_as_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", aloud=False)
    await outbox.send(LETTER)
    await outbox.send(LETTER)
    (path,) = (tmp_path / "outbox").iterdir()
    letter = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert (letter["To"], letter.get_content()) == (LETTER.to, LETTER.text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_an_outbox_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("in the way")
    with pytest.raises(Unavailable):
        await Outbox(tmp_path / "outbox", aloud=False).send(LETTER)


@pytest.mark.parametrize("aloud", [True, False])
async def test_only_an_outbox_that_is_told_to_speaks(
    tmp_path: Path, *, aloud: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    await Outbox(tmp_path, aloud=aloud).send(LETTER)
    said = capsys.readouterr()
    assert ("123456" in said.out + said.err) is aloud
