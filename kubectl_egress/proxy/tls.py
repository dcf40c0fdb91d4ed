"""The TLS transport socket of a cluster in `/config_dump`, in the shapes that Istio has written it since 1.18."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.model import Body, TlsSettings

_UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def at(value: Body, *keys: str) -> Mapping[str, Any]:
    """The mapping at the end of the keys; an empty one where something is missing, as protocol buffers mean it."""
    for key in keys:
        value = value.get(key) or {}
    return value


def tls_settings(cluster: Body) -> TlsSettings | None:
    """What the cluster's TLS checks, or None where some connection of it may be made without TLS."""
    sockets = list(_sockets(cluster))
    contexts = [context for context in map(_context, sockets) if context is not None]
    if not contexts or len(contexts) < len(sockets):
        return None
    automatic = at(cluster, "typed_extension_protocol_options", _HTTP_OPTIONS, "upstream_http_protocol_options")
    common = at(contexts[0], "common_tls_context")
    return TlsSettings(
        sni=contexts[0].get("sni", ""),
        subject_alt_names=tuple(_subject_alt_names(common)),
        ca=_authority(common),
        auto_sni=bool(automatic.get("auto_sni")),
        auto_san=bool(automatic.get("auto_san_validation")),
    )


def _sockets(cluster: Body) -> Iterator[Body]:
    """The sockets that an endpoint outside the mesh can get: those that ask for no metadata of it."""
    matches = [match for match in cluster.get("transport_socket_matches", ()) if not match.get("match")]
    if matches:  # the first that fits is taken (`user` where HBONE is on), and the cluster's own never
        yield matches[0].get("transport_socket", {})
    elif "transport_socket" in cluster:
        yield cluster["transport_socket"]


def _context(socket: Body) -> Body | None:
    """The UpstreamTlsContext, also inside a wrapper such as the PROXY protocol's; None for sockets without TLS."""
    typed = at(socket, "typed_config")
    if str(typed.get("@type", "")).endswith(_UPSTREAM_TLS):
        return typed
    return _context(typed["transport_socket"]) if "transport_socket" in typed else None


def _validations(common: Body) -> list[Mapping[str, Any]]:
    return [
        at(common, "combined_validation_context", "default_validation_context"),
        at(common, "validation_context"),
    ]


def _subject_alt_names(common: Body) -> Iterator[str]:
    for validation in _validations(common):
        for matcher in validation.get("match_subject_alt_names", ()):
            yield _matched(matcher)
        for typed in validation.get("match_typed_subject_alt_names", ()):
            yield _matched(at(typed, "matcher"))


def _matched(matcher: Body) -> str:
    """An exact name; another kind of pattern with its kind in front, which no name begins with."""
    if "exact" in matcher:
        return str(matcher["exact"])
    kind, pattern = next(iter(matcher.items()), ("", ""))
    return f"{kind}:{pattern}"


def _authority(common: Body) -> str:
    """What the server's certificate must come from; '' where any certificate is accepted."""
    if any(validation.get("trust_chain_verification") == "ACCEPT_UNTRUSTED" for validation in _validations(common)):
        return ""
    served = (
        at(common, "combined_validation_context", "validation_context_sds_secret_config"),
        at(common, "validation_context_sds_secret_config"),
    )
    for secret in served:
        if secret.get("name"):
            return str(secret["name"])
    for validation in _validations(common):
        if "system_root_certs" in validation:
            return "system_root_certs"
        if validation.get("trusted_ca"):
            return str(validation["trusted_ca"].get("filename", "inline"))
    return ""
