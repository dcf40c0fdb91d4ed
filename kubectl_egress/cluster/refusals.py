"""What an API server or the way to it says no with, as errors that a user can mend."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from kubectl_egress.cluster.redaction import redacted
from kubectl_egress.errors import (
    ApiError,
    ConflictError,
    EgressError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnreachableError,
)

_CLASSES: dict[int, type[ApiError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    # What the API server answers when a JSON patch's address or a precondition does not hold.
    412: ConflictError,
    422: InvalidError,
}
_REMEDIES = {
    401: "log in again, or choose another context or user: kubectl config get-contexts",
    403: "ask for this permission, or for another account; kubectl auth can-i --list shows what this one may do",
    404: "check the name, -n NAMESPACE and --context",
    409: "somebody else changed it meanwhile: look at it, and run the command again",
    412: "somebody else changed it meanwhile: look at it, and run the command again",
    422: "look at the object as it is now: it is not what it was when it was read, or the cluster refuses the new one",
    429: "the API server is busy: wait a little, and run the command again",
}
_ADMISSION = (
    ("exceeded quota", "the namespace's quota is used up: kubectl describe resourcequota shows it"),
    (
        "failed calling webhook",
        "the cluster's own webhook does not answer: kubectl get validatingwebhookconfigurations,"
        "mutatingwebhookconfigurations shows whose it is",
    ),
    ("denied request", "a policy of the cluster refuses it, not a permission: ask those who made it"),
    ("denied the request", "a policy of the cluster refuses it, not a permission: ask those who made it"),
)
"""By words of the message: what admission says, with whatever status."""
_REPORT = "the message is the API server's; kubectl get --raw /readyz?verbose shows how it is"


def refusal(status: int, body: bytes) -> ApiError:
    """Make the error for an HTTP status and its body, which is a `Status` object or, from a proxy, any text."""
    details = _status_object(body)
    message = redacted(" ".join(str(details.get("message") or "").split())) or _plain(status, body)
    reason = str(details.get("reason") or "")
    if status == 401:
        message = "You must be logged in to the server (Unauthorized)"
    remedy = next((known for words, known in _ADMISSION if words in message), _REMEDIES.get(status, _REPORT))
    return _CLASSES.get(status, ApiError)(message, remedy, status=status, reason=reason)


def _status_object(body: bytes) -> dict[str, Any]:
    """The `Status`, or nothing."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def _plain(status: int, body: bytes) -> str:
    """One line for an answer that is no Status; kubectl's words for the bare 404."""
    if status == 404:
        return "the server could not find the requested resource"
    text = " ".join(body.decode("utf-8", "replace").split())[:200]
    return f"the server answered {status}" + (f": {text}" if text else "")


def unreachable(exception: BaseException, server: str) -> EgressError:
    """Make the error for an exception on the way to `server` (`https://host:port`), in kubectl's words.

    The causes of the exception decide: urllib3 and websocket-client wrap the operating system's in their own.
    """
    chain = tuple(causes(exception))
    address = server.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]
    check = f"check the address ({address}), the network and any proxy; kubectl cluster-info asks the same server"
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UnreachableError(
                f"Unable to connect to the server: tls: failed to verify certificate: {cause.verify_message}",
                "check certificate-authority and tls-server-name in the kubeconfig: it may be another cluster's",
            )
        if isinstance(cause, ssl.SSLError) and "PEM" in str(cause):
            return UnreachableError(
                "kubeconfig: certificate-authority, client-certificate or client-key is not PEM",
                "mend it in the kubeconfig; kubectl config view --raw shows what is there",
            )
        if isinstance(cause, ssl.SSLError):
            return UnreachableError(
                f"Unable to connect to the server: tls: {_reason(cause)}",
                f"check that {address} speaks TLS, and the client certificate in the kubeconfig",
            )
        if isinstance(cause, socket.gaierror):
            return UnreachableError(f"Unable to connect to the server: lookup {address}: no such host", check)
        if isinstance(cause, ConnectionRefusedError):
            return UnreachableError(
                f"The connection to the server {address} was refused - did you specify the right host or port?", check
            )
    if any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in chain):
        return UnreachableError(
            f"Unable to connect to the server: {address} did not answer in time", f"{check}; or raise --request-timeout"
        )
    last = " ".join(str(chain[-1]).split()) or type(chain[-1]).__name__
    return UnreachableError(f"Unable to connect to the server: {address}: {last}", check)


def causes(exception: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from: the chain, and the exceptions among the arguments."""
    seen: set[int] = set()
    todo = [exception]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, *current.args, getattr(current, "reason", None)]
        todo.extend(item for item in inner if isinstance(item, BaseException))


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's word for it, as words: `WRONG_VERSION_NUMBER`."""
    return (error.reason or str(error)).replace("_", " ").lower()
