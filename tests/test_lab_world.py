"""The outside world: what its servers answer and count, its DNS, and the stand-in for curl against them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from dnslib import QTYPE, RCODE, DNSRecord  # type: ignore[import-untyped]

from kubectl_egress.lab import curl
from kubectl_egress.lab.world.certificates import Certificate
from kubectl_egress.lab.world.http import Request, answer, delay_of, response
from kubectl_egress.lab.world.ledger import Ledger
from kubectl_egress.lab.world.names import answer as resolve
from kubectl_egress.lab.world.server import Servers


def request(method: str, target: str, body: bytes = b"", **headers: str) -> Request:
    return Request(method, target, tuple(headers.items()), body, 0)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/status/200", 200),
        ("/status/418", 418),
        ("/status/99999", 404),
        ("/get?a=1", 200),
        ("/headers", 200),
        ("/nothing", 404),
    ],
)
def test_status_of_a_path(target: str, status: int) -> None:
    assert answer(request("GET", target), "https", "httpbin.org")[0] == status


def test_an_echo_says_what_arrived() -> None:
    _, body = answer(request("POST", "/post?q=x", b"hello", host="httpbin.org", x="y"), "https", "httpbin.org")
    text = body.decode()
    assert all(
        part in text for part in ('"data": "hello"', '"x": "y"', '"q": "x"', '"url": "https://httpbin.org/post?q=x"')
    )


@pytest.mark.parametrize(
    ("target", "seconds"), [("/get", 0.0), ("/delay/x", 0.0), ("/delay/0.5", 0.5), ("/delay/99", 10.0)]
)
def test_delay(target: str, seconds: float) -> None:
    assert delay_of(request("GET", target)) == seconds


def test_an_answer_without_body_has_no_length_where_http_allows_none() -> None:
    assert b"content-length" not in response(204, b"", head_only=False, keep_alive=True)
    assert b"content-length: 0" in response(200, b"", head_only=False, keep_alive=True)


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("nobody.example", "A", RCODE.NXDOMAIN, 0),
        ("httpbin.org.cluster.local", "A", RCODE.NXDOMAIN, 0),
        ("httpbin.org", "AAAA", RCODE.NOERROR, 0),
        ("both.example", "AAAA", RCODE.NOERROR, 1),
        ("both.example", "A", RCODE.NOERROR, 1),
        ("both.example", "TXT", RCODE.NOERROR, 0),
        ("httpbin.org", "A", RCODE.NOERROR, 1),
        ("HTTPBIN.org.", "A", RCODE.NOERROR, 1),
    ],
)
def test_dns(name: str, kind: str, code: int, answers: int) -> None:
    known = {"httpbin.org": ["203.0.113.1"], "both.example": ["203.0.113.1", "2001:db8::1"]}
    reply = resolve(DNSRecord.question(name, kind), known)
    assert (reply.header.rcode, len(reply.rr)) == (code, answers)
    rights = {(QTYPE.A, "203.0.113.1"), (QTYPE.AAAA, "2001:db8::1")}
    assert all((record.rtype, str(record.rdata)) in rights for record in reply.rr)


# ---- a server on this machine's loopback --------------------------------------------------------------------------

NAME = "localhost"
Scenario = Callable[[Servers, int], Awaitable[None]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def serving(scenario: Scenario, authority: trustme.CA, certificate: Certificate = Certificate.GOOD) -> Ledger:
    """Run a scenario against a server for `localhost` on a port with TLS; what the server has noted."""
    ledger = Ledger()

    async def run() -> None:
        servers = Servers(authority, ledger)
        servers.add(NAME, "127.0.0.1", certificate)
        port = free_port()
        servers.listen([port])
        await asyncio.sleep(0)
        await scenario(servers, port)

    asyncio.run(run())
    return ledger


async def send(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


def test_clear_text_to_a_tls_port_is_refused_and_counted() -> None:
    data = b"GET /get HTTP/1.1\r\nHost: httpbin.org\r\n\r\n"

    async def scenario(_: Servers, port: int) -> None:
        assert (await send(port, data)).startswith(b"HTTP/1.1 400 Bad Request")

    ledger = serving(scenario, trustme.CA())
    ((port, seen),) = ledger.as_json()["clear"][NAME].items()
    assert seen == {"requests": 1, "bytes": len(data)}
    assert [(r["path"], r["tls"], r["port"]) for r in ledger.requests] == [("/get", False, int(port))]


def test_bytes_that_are_no_request_count_as_one() -> None:
    async def scenario(_: Servers, port: int) -> None:
        assert await send(port, b"EHLO me\r\n") == b""

    ((_, seen),) = serving(scenario, trustme.CA()).as_json()["clear"][NAME].items()
    assert seen == {"requests": 1, "bytes": 9}


def test_a_connection_without_a_byte_counts_nothing() -> None:
    async def scenario(_: Servers, port: int) -> None:
        assert await send(port, b"") == b""

    assert serving(scenario, trustme.CA()).as_json() == {"served": {}, "clear": {}, "failedHandshakes": {}}


def run_curl(*arguments: str) -> tuple[int, str, str]:
    """The stand-in's exit code and its two outputs."""
    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = curl.main(list(arguments))
    out.seek(0)
    return code, out.read(), err.getvalue()


def curl_at(
    path: str, *arguments: str, certificate: Certificate = Certificate.GOOD, directory: Path
) -> tuple[tuple[int, str, str], Ledger]:
    """The stand-in's result for `https://localhost:PORT` + path, and what the server has noted."""
    authority = trustme.CA()
    bundle = directory / "ca.pem"
    bundle.write_bytes(authority.cert_pem.bytes())
    results: list[tuple[int, str, str]] = []

    async def scenario(_: Servers, port: int) -> None:
        url = f"https://{NAME}:{port}{path}"
        results.append(await asyncio.to_thread(run_curl, "--cacert", str(bundle), *arguments, url))

    ledger = serving(scenario, authority, certificate)
    return results[0], ledger


@pytest.mark.parametrize(
    ("path", "arguments", "code", "out"),
    [
        ("/status/200", ("-s",), 0, ""),
        ("/status/503", ("-s",), 0, ""),
        ("/status/503", ("-sf",), 22, ""),
        ("/get", ("-s", "-o", "/dev/null", "-w", "%{http_code}\\n"), 0, "200\n"),
        ("/delay/5", ("-s", "-m", "0.3"), 28, ""),
        ("/status/302", ("-sL", "-o", "/dev/null", "-w", "%{http_code}"), 0, "200"),
    ],
)
def test_curl_over_tls(tmp_path: Path, path: str, arguments: tuple[str, ...], code: int, out: str) -> None:
    (found, printed, _), ledger = curl_at(path, *arguments, directory=tmp_path)
    assert (found, printed) == (code, out)
    assert ledger.as_json()["clear"] == {}


def test_curl_sends_what_it_is_told_and_the_server_keeps_it(tmp_path: Path) -> None:
    (code, out, err), ledger = curl_at("/post", "-sv", "-d", "a=1", "-H", "X-One: 1", directory=tmp_path)
    assert code == 0
    assert '"data": "a=1"' in out
    assert "< HTTP/1.1 200 OK" in err
    (seen,) = ledger.requests
    assert (seen["method"], seen["sni"], seen["tls"]) == ("POST", NAME, True)
    assert ["X-One", "1"] in seen["headers"]


@pytest.mark.parametrize(("shown", "code"), [("shop", 200), ("stranger", 0), ("", 0)])
def test_a_server_that_asks_for_a_certificate_notes_whose_it_was(tmp_path: Path, shown: str, code: int) -> None:
    authority, clients = trustme.CA(), {"shop": trustme.CA(), "stranger": trustme.CA()}

    async def scenario(servers: Servers, port: int) -> None:
        servers.show(NAME, Certificate.GOOD, clients["shop"].cert_pem.bytes().decode())
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if shown:
            clients[shown].issue_cert(f"{shown}.example.com", common_name=shown).configure_cert(context)
        # Since TLS 1.3 a client has shaken hands before the server has seen its certificate.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_connection(NAME, port, ssl=context)
            writer.write(b"GET /get HTTP/1.1\r\nConnection: close\r\n\r\n")
            await reader.read()
            writer.close()

    ledger = serving(scenario, authority)
    assert [(one["status"], one["client"]) for one in ledger.requests] == ([(code, shown)] if code else [])
    assert bool(ledger.failed_handshakes[NAME]) is not bool(code)


@pytest.mark.parametrize("certificate", [kind for kind in Certificate if kind is not Certificate.GOOD])
def test_curl_takes_no_bad_certificate(tmp_path: Path, certificate: Certificate) -> None:
    (code, _, err), ledger = curl_at("/get", "-sS", certificate=certificate, directory=tmp_path)
    assert code == 60
    assert "SSL certificate problem" in err
    assert ledger.served == {}


def test_curl_takes_every_certificate_with_k(tmp_path: Path) -> None:
    (code, _, _), ledger = curl_at("/get", "-sk", certificate=Certificate.EXPIRED, directory=tmp_path)
    assert (code, ledger.as_json()["served"]) == (0, {NAME: {"200": 1}})


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("-s", "ftp://x/"), 1), (("-s", "http://no-such-name.invalid/"), 6), (("-s", "http://127.0.0.1:1/"), 7)],
)
def test_curl_without_a_server(arguments: tuple[str, ...], code: int) -> None:
    assert run_curl(*arguments)[0] == code


def test_curl_at_a_server_that_hangs_up() -> None:
    async def scenario() -> Any:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            plain = await asyncio.to_thread(run_curl, "-s", f"http://127.0.0.1:{port}/")
            return plain[0]

    assert asyncio.run(scenario()) == 52
