"""A real mail server on loopback, as friendly or unfriendly as a test wants it; and a certificate for it."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from carrel.domain.errors import Unavailable
from carrel.domain.mail import Letter


@dataclass
class PostOffice:
    """`letters` is what it took. `on_rcpt` and `on_data` are its next answers to these; None means that it agrees."""

    letters: list[EmailMessage] = field(default_factory=list)
    on_rcpt: str | None = None
    on_data: str | None = None
    silent: bool = False
    port: int = 0
    logins: list[str] = field(default_factory=list)

    async def handle_RCPT(self, *given: Any) -> str:  # noqa: N802 - aiosmtpd's name
        _, _, envelope, address, _ = given
        if self.on_rcpt is None:
            envelope.rcpt_tos.append(address)
        return self.on_rcpt or "250 OK"

    async def handle_DATA(self, *given: Any) -> str:  # noqa: N802 - as above
        _, _, envelope = given
        if self.silent:
            await asyncio.Event().wait()
        if self.on_data is None:
            self.letters.append(message_from_bytes(envelope.content, policy=policy.default))
        return self.on_data or "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        return [letter for letter in self.letters if letter["To"] == address]


@asynccontextmanager
async def a_post_office(
    *, password: str | None = None, tls: ssl.SSLContext | None = None, at_once: bool = False
) -> AsyncIterator[PostOffice]:
    """With a password it knows one, for any name; with `tls` it demands STARTTLS, or speaks TLS `at_once`."""
    office = PostOffice()

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        office.logins.append(given.login.decode())
        # a wrong password that were "handled" would leave the client without an answer
        return AuthResult(success=given.password.decode() == password, handled=False)

    options: dict[str, Any] = {"hostname": "post.example", "auth_require_tls": False}
    if password is not None:
        options |= {"authenticator": authenticate}
    if tls is not None and not at_once:
        options |= {"tls_context": tls, "require_starttls": True, "auth_require_tls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(office, loop=loop, **options), "127.0.0.1", 0, ssl=tls if at_once else None
    )
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()


def a_certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For 127.0.0.1: the server's side, and that of a client that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "post.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "post.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


class Mailbox:
    """A mailer that keeps what it is given, for tests that are not about mail servers; and refuses while `down`."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.down = False

    async def send(self, letter: Letter) -> None:
        if self.down:
            raise Unavailable("The mail server is down.", code="mail_unavailable")
        self.letters.append(letter)

    def code_for(self, address: str) -> str:
        """The newest."""
        text = [letter.text for letter in self.letters if letter.to == address][-1]
        found = re.search(r"^Your code: (\d{6})$", text, re.MULTILINE)
        assert found, text
        return found[1]
