"""Text to Documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubectl_egress.manifests.nodes import compose, descend, objects_of
from kubectl_egress.manifests.values import Values
from kubectl_egress.model import Document, Ref, Steps


def parse(text: str, file: str) -> tuple[Document, ...]:
    """The Kubernetes objects of a YAML or JSON text; the items of a `kind: List` one by one; the rest is ignored.

    `Document.index` counts every document of the text, and each item of a List. ManifestError, with file and line,
    for broken YAML, for duplicate keys and for templates that are not rendered yet.
    """
    documents: list[Document] = []
    for index, node in enumerate(objects_of(compose(text, file))):
        body = Values(text, file).value(node)
        reference = _reference(body)
        if reference is not None:
            documents.append(Document(reference, body, file, node.start_mark.line + 1, index))
    return tuple(documents)


def _reference(body: Any) -> Ref | None:
    if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
        return None
    kind, api_version, metadata = body.get("kind"), body.get("apiVersion"), body["metadata"]
    name = metadata.get("name") or metadata.get("generateName")
    if not (isinstance(kind, str) and isinstance(api_version, str) and isinstance(name, str)):
        return None
    return Ref(kind, str(metadata.get("namespace") or ""), name, api_version)


def lines(text: str, addresses: Iterable[tuple[int, Steps]]) -> dict[tuple[int, Steps], int]:
    """The line, from 1, at which each address (document index, steps) begins; those that are not there are left out."""
    objects = list(objects_of(compose(text, "")))
    found = ((address, descend(objects, *address)) for address in addresses)
    return {address: node.start_mark.line + 1 for address, node in found if node is not None}
