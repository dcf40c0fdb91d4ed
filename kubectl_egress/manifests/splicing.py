"""Edits in values, made in the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yaml.nodes import ScalarNode

from kubectl_egress import paths
from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests.nodes import Node, compose, descend, objects_of
from kubectl_egress.manifests.scalars import Run, runs
from kubectl_egress.manifests.values import Values, scalar_value
from kubectl_egress.model import Edit, Steps
from kubectl_egress.urls import apply_edits

BY_HAND = "Change it by hand, or write it plainly first."


def splice(text: str, edits: Mapping[tuple[int, Steps], Sequence[Edit]]) -> str:
    """The text with edits made in the values at (document index, address); everything else byte for byte as it was.

    ManifestError if a value does not stand literally in the text, or if an anchor shares it with a place that was
    not to be changed.
    """
    if not any(edits.values()):
        return text
    objects = list(objects_of(compose(text, "")))
    in_text = {edit for address, wanted in edits.items() for edit in _edits_in_text(text, objects, address, wanted)}
    try:
        spliced = apply_edits(text, sorted(in_text))
    except ValueError as error:
        raise ManifestError(f"the edits do not fit the file: {error}", BY_HAND) from error
    expected = [Values(text, "").value(node) for node in objects]
    for (index, steps), wanted in edits.items():
        expected[index] = paths.replaced(expected[index], steps, apply_edits(paths.get(expected[index], steps), wanted))
    check(spliced, expected)
    return spliced


def _edits_in_text(
    text: str, objects: Sequence[Node], address: tuple[int, Steps], wanted: Sequence[Edit]
) -> Iterator[Edit]:
    node = descend(objects, *address)
    where = paths.kubectl_path(address[1])
    if not isinstance(node, ScalarNode):
        raise ManifestError(f"{where} is no string of document {address[0] + 1}", BY_HAND)
    start = node.start_mark.index
    literal = runs(text[start : node.end_mark.index], node.style, str(scalar_value(node, text)))
    for edit in wanted:
        offset = _offset(literal or (), edit)
        if offset is None or not text.startswith(edit.old, start + offset):
            line = node.start_mark.line + 1
            raise ManifestError(f"line {line}: the URL at {where} is folded or escaped", BY_HAND)
        yield Edit(start + offset, edit.old, edit.new)


def _offset(literal: Sequence[Run], edit: Edit) -> int | None:
    for run in literal:
        if run.value <= edit.start and edit.end <= run.value + run.length:
            return run.source + edit.start - run.value
    return None


def check(text: str, expected: Sequence[Any]) -> None:
    """Read a rewritten text again. ManifestError unless its objects are what was meant, and nothing else."""
    try:
        objects = [Values(text, "").value(node) for node in objects_of(compose(text, ""))]
    except ManifestError:
        objects = []
    if objects != expected:
        raise ManifestError(
            "the change would reach more than it should: an anchor, or a layout that cannot be kept", BY_HAND
        )
