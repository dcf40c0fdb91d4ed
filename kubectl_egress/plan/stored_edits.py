"""Edits in manifests of Secrets: in base64 no URL stands literally, so that a value is replaced as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubectl_egress import paths, secret_values
from kubectl_egress.model import Document, Edit, Steps
from kubectl_egress.urls import apply_edits

Address = tuple[int, Steps]


def as_stored(
    edits: Mapping[str, Mapping[Address, Sequence[Edit]]], documents: Sequence[Document]
) -> Mapping[str, Mapping[Address, Sequence[Edit]]]:
    """By file and address (document, steps), the edits in what stands there, from those in what it means."""
    bodies = {(one.file, one.index): one.body for one in documents if one.ref.kind == "Secret"}

    def stored(file: str, address: Address, wanted: Sequence[Edit]) -> Sequence[Edit]:
        index, steps = address
        body = bodies.get((file, index))
        if body is None or steps[:1] != ("data",):
            return wanted
        written = paths.get(body, steps)
        text = secret_values.decoded(written)
        assert text is not None, "an edit is of a text"
        return (Edit(0, written, secret_values.encoded(apply_edits(text, wanted))),)

    return {
        file: {address: stored(file, address, wanted) for address, wanted in addresses.items()}
        for file, addresses in edits.items()
    }
