"""A stand-in for curl on machines that have none: the arguments that the lab's workloads use, with curl's exit codes."""

from __future__ import annotations

import argparse
import http.client
import socket
import ssl
import sys
import time
from urllib.parse import urljoin, urlsplit

# https://everything.curl.dev/cmdline/exitcode.html
COULD_NOT_RESOLVE, COULD_NOT_CONNECT, HTTP_ERROR, TIMED_OUT = 6, 7, 22, 28
TLS_FAILED, TOO_MANY_REDIRECTS, EMPTY_REPLY, RECEIVE_FAILED, BAD_CERTIFICATE = 35, 47, 52, 56, 60
UNSUPPORTED_PROTOCOL = 1
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
TRANSIENT = (408, 429, 500, 502, 503, 504)
LONGEST_CHAIN = 50
VERSION = "8.0.0"


class TransferError(Exception):
    """The transfer failed: curl's exit code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def parser() -> argparse.ArgumentParser:
    """The arguments, by curl's names."""
    found = argparse.ArgumentParser(prog="curl", add_help=False, allow_abbrev=False)
    for short, long in (
        ("-s", "--silent"), ("-S", "--show-error"), ("-v", "--verbose"), ("-i", "--include"), ("-I", "--head"),
        ("-f", "--fail"), ("-k", "--insecure"), ("-L", "--location"),
    ):  # fmt: skip
        found.add_argument(short, long, action="store_true")
    found.add_argument("-o", "--output")
    found.add_argument("-w", "--write-out", default="")
    found.add_argument("-m", "--max-time", type=float)
    found.add_argument("--connect-timeout", type=float)
    found.add_argument("--retry", type=int, default=0)
    found.add_argument("--retry-delay", type=float)
    found.add_argument("-H", "--header", action="append", default=[])
    found.add_argument("-d", "--data", action="append", default=[])
    found.add_argument("-X", "--request")
    found.add_argument("-A", "--user-agent", default=f"curl/{VERSION}")
    found.add_argument("--cacert", default=CA_BUNDLE)
    for short, long, family in (("-4", "--ipv4", socket.AF_INET), ("-6", "--ipv6", socket.AF_INET6)):
        found.add_argument(short, long, dest="family", action="store_const", const=family, default=0)
    found.add_argument("--url", action="append", default=[])
    found.add_argument("urls", nargs="*")
    return found


def _say(options: argparse.Namespace, text: str) -> None:
    if options.verbose:
        print(text, file=sys.stderr)


def _connect(options: argparse.Namespace, host: str, port: int, limit: float | None) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(host, port, options.family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TransferError(COULD_NOT_RESOLVE, f"Could not resolve host: {host}") from error
    problem: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        _say(options, f"*   Trying {address[0]}:{port}...")
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(options.connect_timeout or limit or 300)
        try:
            connection.connect(address)
        except OSError as error:
            problem = error
            connection.close()
            continue
        _say(options, f"* Connected to {host} ({address[0]}) port {port}")
        return connection
    if isinstance(problem, TimeoutError):
        raise TransferError(TIMED_OUT, f"Connection timed out: {host} port {port}")
    raise TransferError(COULD_NOT_CONNECT, f"Failed to connect to {host} port {port}: {problem and problem.strerror}")


def _encrypt(options: argparse.Namespace, connection: socket.socket, host: str) -> ssl.SSLSocket:
    try:
        context = ssl.create_default_context(cafile=options.cacert)
    except OSError as error:
        raise TransferError(77, f"error setting certificate file: {options.cacert}") from error
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise TransferError(BAD_CERTIFICATE, f"SSL certificate problem: {error.verify_message}") from error
    except TimeoutError as error:
        raise TransferError(TIMED_OUT, "SSL connection timeout") from error
    except OSError as error:
        raise TransferError(TLS_FAILED, f"TLS connect error: {error}") from error


def _headers(options: argparse.Namespace, host: str, body: bytes | None) -> dict[str, str]:
    headers = {"Host": host, "User-Agent": options.user_agent, "Accept": "*/*"}
    if body is not None:
        headers |= {"Content-Length": str(len(body)), "Content-Type": "application/x-www-form-urlencoded"}
    for line in options.header:
        name, _, value = line.partition(":")
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        if value.strip():
            headers[name] = value.strip()
    return headers


def _data(options: argparse.Namespace) -> bytes | None:
    parts = []
    for part in options.data:
        if part.startswith("@"):
            with open(part[1:], "rb") as file:
                parts.append(file.read().replace(b"\n", b""))
        else:
            parts.append(part.encode())
    return b"&".join(parts) if parts else None


def transfer(options: argparse.Namespace, url: str) -> tuple[int, bytes, bytes, str]:
    """One request and its answer: status, head, body, and where it redirects to. Raises TransferError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https"):
        raise TransferError(UNSUPPORTED_PROTOCOL, f'Protocol "{parts.scheme}" not supported')
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    body = _data(options)
    method = options.request or ("HEAD" if options.head else "POST" if body is not None else "GET")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connect(options, host, port, options.max_time)
    if parts.scheme == "https":
        connection = _encrypt(options, connection, host)
    connection.settimeout(options.max_time)
    headers = _headers(options, parts.netloc.rpartition("@")[2], body)
    _say(options, f"> {method} {target} HTTP/1.1\n" + "".join(f"> {k}: {v}\n" for k, v in headers.items()) + ">")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    try:
        connection.sendall("\r\n".join(lines).encode("latin-1") + (body or b""))
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        content = answer.read()
    except TimeoutError as error:
        raise TransferError(TIMED_OUT, f"Operation timed out after {options.max_time} seconds") from error
    except http.client.RemoteDisconnected as error:
        raise TransferError(EMPTY_REPLY, "Empty reply from server") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(RECEIVE_FAILED, f"Recv failure: {error}") from error
    finally:
        connection.close()
    head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in answer.getheaders())
    _say(options, "".join(f"< {line}\n" for line in head.splitlines()) + "<")
    return answer.status, head.encode("latin-1") + b"\r\n", content, answer.getheader("Location") or ""


def _follow(options: argparse.Namespace, url: str) -> tuple[int, bytes, bytes]:
    for _ in range(LONGEST_CHAIN):
        status, head, content, location = transfer(options, url)
        if not (options.location and location and 300 <= status < 400):
            return status, head, content
        url = urljoin(url, location)
    raise TransferError(TOO_MANY_REDIRECTS, f"Maximum ({LONGEST_CHAIN}) redirects followed")


def _write(options: argparse.Namespace, content: bytes) -> None:
    if options.output in (None, "-"):
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        with open(options.output, "wb") as file:
            file.write(content)


def _write_out(template: str, status: int, started: float, size: int) -> None:
    values = {
        "http_code": f"{status:03d}",
        "response_code": f"{status:03d}",
        "time_total": f"{time.monotonic() - started:.6f}",
        "size_download": str(size),
    }
    for name, value in values.items():
        template = template.replace("%{" + name + "}", value)
    sys.stdout.write(template.replace("\\n", "\n").replace("\\t", "\t"))
    sys.stdout.flush()


def fetch(options: argparse.Namespace, url: str) -> int:
    """Fetch one URL, again while it fails in a way that passes; the exit code."""
    for attempt in range(options.retry + 1):
        started = time.monotonic()
        last = attempt == options.retry
        try:
            status, head, content = _follow(options, url)
        except TransferError as failure:
            if failure.code == TIMED_OUT and not last:
                time.sleep(options.retry_delay or 2**attempt)
                continue
            _write_out(options.write_out, 0, started, 0)
            if not options.silent or options.show_error:
                print(f"curl: ({failure.code}) {failure}", file=sys.stderr)
            return failure.code
        if status in TRANSIENT and not last:
            time.sleep(options.retry_delay or 2**attempt)
            continue
        failed = options.fail and status >= 400
        if not failed:
            _write(options, (head if options.include or options.head else b"") + content)
        elif not options.silent or options.show_error:
            print(f"curl: ({HTTP_ERROR}) The requested URL returned error: {status}", file=sys.stderr)
        _write_out(options.write_out, status, started, len(content))
        return HTTP_ERROR if failed else 0
    return 0


def main(arguments: list[str]) -> int:
    """Fetch every URL; the exit code of the last, as curl's."""
    options = parser().parse_intermixed_args(arguments)
    urls = [*options.url, *options.urls]
    if not urls:
        print("curl: (2) no URL specified", file=sys.stderr)
        return 2
    codes = [fetch(options, url) for url in urls]
    return codes[-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
