"""Secrets as they are read here, their values as text like a ConfigMap's, and as the API has them, in base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from kubectl_egress.model import Body

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Tokens, certificates, credentials of registries, releases: who made them renews them, and nothing in them is a call.
_OTHERS = ("kubernetes.io/", "bootstrap.kubernetes.io/", "helm.sh/", "istio.io/")


def is_read(body: Body) -> bool:
    """Whether a Secret is of a type in which people put settings (Opaque, or one of their own), and not encrypted by SOPS."""
    return "sops" not in body and not str(body.get("type") or "").startswith(_OTHERS)


def readable(body: Body) -> Body:
    """A Secret of the API (or of a manifest) with what is UTF-8 as text in `data`, and the rest, in base64, in `binaryData`."""
    texts: dict[str, Any] = {}
    binary: dict[str, Any] = {}
    for key, value in _mapping(body, "data").items():
        text = decoded(value)
        if text is None:
            binary[key] = value
        else:
            texts[key] = text
    # as the API server does: what is written plainly wins
    for key, value in _mapping(body, "stringData").items():
        texts[key] = value
        binary.pop(key, None)
    rest = {key: value for key, value in body.items() if key not in ("data", "stringData", "binaryData")}
    if "metadata" in rest:
        rest["metadata"] = _without_values(rest["metadata"])
    return {**rest, **({"data": texts} if texts else {}), **({"binaryData": binary} if binary else {})}


def stored(body: Body) -> Body:
    """What `readable` has made, as the API has it."""
    texts = {key: encoded(text) for key, text in _mapping(body, "data").items()}
    rest = {key: value for key, value in body.items() if key not in ("data", "binaryData")}
    return {**rest, "data": {**texts, **_mapping(body, "binaryData")}}


def _without_values(metadata: Body) -> Body:
    """Metadata without the annotation in which kubectl apply keeps the whole object, values and all."""
    annotations = metadata.get("annotations") or {}
    if _APPLIED not in annotations:
        return metadata
    return {**metadata, "annotations": {key: value for key, value in annotations.items() if key != _APPLIED}}


def _mapping(body: Body, field: str) -> Mapping[str, Any]:
    value = body.get(field)
    return value if isinstance(value, Mapping) else {}


def encoded(text: str) -> str:
    """A value as the API has it."""
    return base64.b64encode(text.encode()).decode()


def decoded(value: Any) -> str | None:
    """What a value means; None for what is no text, or no base64."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
