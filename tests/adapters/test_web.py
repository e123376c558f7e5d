"""Fetching from other machines: which addresses are connected to, and what is taken from them."""

import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from carrel.adapters.web import Allowed, Judge, JudgedTransport, OutboundWeb, Rules
from carrel.domain.errors import Refusal
from carrel.ports.web import Fetched
from support.insides import NOT_PUBLIC
from support.issuer import Answer, LoopbackIssuer, an_issuer, an_rsa_key
from support.receiver import Receiver, a_receiver

PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
ACCEPTS = frozenset({"text/plain"})

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "2606:4700:4700::1111",
    "64:ff9b::808:808",
    "2002:808:808::",
    "::ffff:8.8.8.8",
]


@pytest.fixture
def server() -> Iterator[LoopbackIssuer]:
    with an_issuer() as standing:
        standing.instead["/"] = Answer(200, b"hello", PLAIN)
        yield standing


def web(server: LoopbackIssuer, allowed: str = "127.0.0.0/8", *, seconds: float = 5.0) -> OutboundWeb:
    return OutboundWeb(Rules(Allowed.read(allowed), frozenset({80, 443, server.port}), total=seconds))


async def fetched(way: OutboundWeb, url: str, *, most: int = 1_000) -> Fetched:
    return await way.get(url, most=most, accepts=ACCEPTS)


async def refusal(way: OutboundWeb, url: str, *, most: int = 1_000) -> str:
    with pytest.raises(Refusal) as refused:
        await fetched(way, url, most=most)
    return refused.value.code


# Addresses


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_what_is_not_public_is_refused(text: str) -> None:
    assert Judge(Allowed()).refuses("name.example", [ip_address(text)])


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_is_not(text: str) -> None:
    assert not Judge(Allowed()).refuses("name.example", [ip_address(text)])


def test_one_bad_address_among_good_ones_is_enough() -> None:
    addresses = [ip_address("1.1.1.1"), ip_address("10.0.0.1")]
    assert Judge(Allowed()).refuses("name.example", addresses)
    assert not Judge(Allowed.read("10.0.0.0/8")).refuses("name.example", addresses)
    assert Judge(Allowed()).refuses("name.example", [])


def test_the_operator_allows_names_and_networks() -> None:
    allowed = Allowed.read(" IdP.internal, 10.1.0.0/16,127.0.0.1, [::1] ,,fd00::/8")
    assert allowed.covers("idp.INTERNAL", ip_address("192.168.0.1"))
    for text in ("10.1.2.3", "127.0.0.1", "::1", "fd12::1"):
        assert allowed.covers("other", ip_address(text))
    for text in ("10.2.0.1", "127.0.0.2", "::2"):
        assert not allowed.covers("other", ip_address(text))
    with pytest.raises(ValueError, match="host bits"):
        Allowed.read("10.1.2.3/8")


def test_an_address_of_this_machine_is_refused_though_it_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a machine that has the address can bind to it; here every address is as if it were so."""
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)
    assert Judge(Allowed()).refuses("name.example", [ip_address("1.1.1.1")])


async def test_nothing_is_connected_to_before_it_is_judged(server: LoopbackIssuer) -> None:
    for host in ("127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::ffff:127.0.0.1]", "①②⑦.0.0.1"):
        assert await refusal(web(server, ""), f"http://{host}:{server.port}/") == "address_refused"
    assert server.asked.total() == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http:///nowhere",
        "//127.0.0.1/",
        "nothing",
        "",
        "http://user@127.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:22/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://127.0.0.1\n.example/",
    ],
)
async def test_what_is_no_plain_address_is_refused(server: LoopbackIssuer, url: str) -> None:
    assert await refusal(web(server), url) == "address_refused"


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("somebody.example.org", socket.EAI_AGAIN, "web_unavailable"),
        ("nobody.example.org", socket.EAI_NONAME, "address_refused"),
        ("payroll", socket.EAI_AGAIN, "address_refused"),
        ("payroll.internal", socket.EAI_AGAIN, "address_refused"),
    ],
)
async def test_a_name_that_cannot_be_resolved_does_not_tell_whether_it_is_an_internal_one(
    name: str, error: int, code: str
) -> None:
    async def nobody(host: str, port: int) -> list[IPv4Address | IPv6Address]:
        raise socket.gaierror(error, "no address")

    assert await refusal(OutboundWeb(Rules(), resolve=nobody), f"http://{name}/") == code


# Answers


async def test_an_allowed_server_is_fetched_from(server: LoopbackIssuer) -> None:
    assert await fetched(web(server), server.url) == Fetched("text/plain", b"hello")


async def test_the_environment_names_no_proxy_and_no_credentials(
    server: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await fetched(web(server), server.url)).content == b"hello"


@pytest.mark.parametrize("status", [201, 204, 301, 302, 303, 307, 308, 401, 404, 410])
async def test_only_200_is_taken_and_no_redirect_followed(server: LoopbackIssuer, status: int) -> None:
    server.instead["/"] = Answer(status, b"", {"Location": "/elsewhere", **PLAIN})
    assert await refusal(web(server), server.url) == "answer_refused"
    assert server.asked == {"/": 1}


async def test_a_server_in_trouble_is_unavailable(server: LoopbackIssuer) -> None:
    server.instead["/"] = Answer(503)
    assert await refusal(web(server), server.url) == "web_unavailable"


@pytest.mark.parametrize("media_type", ["text/html", "text/plainer", ""])
async def test_another_type_is_refused(server: LoopbackIssuer, media_type: str) -> None:
    server.instead["/"] = Answer(200, b"hello", {"Content-Type": media_type})
    assert await refusal(web(server), server.url) == "answer_refused"


async def test_the_limit_counts_what_was_decoded(server: LoopbackIssuer) -> None:
    server.instead["/"] = Answer(200, gzip.compress(bytes(1_000)), {"Content-Encoding": "gzip", **PLAIN})
    assert len((await fetched(web(server), server.url, most=1_000)).content) == 1_000
    assert await refusal(web(server), server.url, most=999) == "answer_refused"
    server.instead["/"] = Answer(200, gzip.compress(bytes(50 << 20)), {"Content-Encoding": "gzip", **PLAIN})
    assert await refusal(web(server), server.url, most=100_000) == "answer_refused"
    twice = gzip.compress(gzip.compress(b"x"))
    for packed in ("gzip, gzip", "deflate", "br"):
        server.instead["/"] = Answer(200, twice, {"Content-Encoding": packed, **PLAIN})
        assert await refusal(web(server), server.url) == "answer_refused"
    server.instead["/"] = Answer(200, b"no gzip", {"Content-Encoding": "gzip", **PLAIN})
    assert await refusal(web(server), server.url) == "answer_refused"


async def test_a_server_that_is_slow_or_down_is_unavailable(server: LoopbackIssuer) -> None:
    server.held = threading.Event()
    assert await refusal(web(server, seconds=0.2), server.url) == "web_unavailable"
    server.held.set()
    server.down()
    assert await refusal(web(server), server.url) == "web_unavailable"


async def test_any_client_can_be_given_the_transport(server: LoopbackIssuer) -> None:
    """A vendor's client follows redirects, and each of them is judged."""
    server.instead["/"] = Answer(302, b"", {"Location": "http://169.254.169.254/latest/meta-data"})
    transport = JudgedTransport(Rules(Allowed.read("127.0.0.0/8"), frozenset({80, server.port})), _trust())
    async with httpx2.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(Refusal) as refused:
            await client.get(server.url)
    assert refused.value.code == "address_refused"


# Telling


@pytest.mark.parametrize("status", [200, 204, 301, 307, 404, 410, 500])
async def test_what_was_told_has_a_status_and_no_redirect_is_followed(status: int) -> None:
    async with a_receiver(status=status, headers={"Location": "/elsewhere"}) as receiver:
        assert await told(receiver) == status
        assert [(one.path, one.body, one.headers["x-name"]) for one in receiver.told] == [("/hook", b"{}", "value")]


async def test_a_flood_that_answers_a_telling_is_not_read() -> None:
    async with a_receiver(status=200, floods=True) as receiver:
        assert await told(receiver) == 200


@pytest.mark.parametrize("manner", ["stalls", "drips"])
async def test_who_does_not_answer_in_time_is_unavailable(manner: str) -> None:
    async with a_receiver(**{manner: True}) as receiver:
        with pytest.raises(Refusal) as refused:
            await told(receiver, seconds=0.3)
    assert refused.value.code == "web_unavailable"


async def test_nothing_is_told_to_an_address_inside() -> None:
    async with a_receiver() as receiver:
        for host in ("127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::ffff:127.0.0.1]", "①②⑦.0.0.1"):
            way = OutboundWeb(Rules(Allowed(), frozenset({receiver.port})))
            with pytest.raises(Refusal) as refused:
                await way.post(f"http://{host}:{receiver.port}/", body=b"{}", headers={})
            assert refused.value.code == "address_refused"
        assert receiver.told == []


async def told(receiver: Receiver, *, seconds: float = 5.0) -> int:
    way = OutboundWeb(Rules(Allowed.read("127.0.0.1"), frozenset({receiver.port}), total=seconds))
    return await way.post(receiver.url, body=b"{}", headers={"x-name": "value"})


# TLS: the address was judged, the certificate is checked for the name


def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server with a certificate for `localhost`, and who trusts it."""
    key = an_rsa_key(1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    trust = ssl.create_default_context(cafile=str(file))
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with an_issuer() as standing:
        standing.instead["/"] = Answer(200, b"secure", PLAIN)
        assert isinstance(standing._server, ThreadingHTTPServer)
        standing._server.socket = context.wrap_socket(standing._server.socket, server_side=True)
        yield standing.port, trust


async def test_the_certificate_is_checked_for_the_name(secure: tuple[int, ssl.SSLContext]) -> None:
    port, trust = secure
    rules = Rules(Allowed.read("localhost,127.0.0.0/8"), frozenset({port}))
    trusting = OutboundWeb(rules, trust=trust)
    assert (await fetched(trusting, f"https://localhost:{port}/")).content == b"secure"
    assert await refusal(trusting, f"https://127.0.0.1:{port}/") == "web_unavailable"
    assert await refusal(OutboundWeb(rules), f"https://localhost:{port}/") == "web_unavailable"
