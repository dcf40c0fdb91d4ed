"""The pod annotation that lets the application start after its proxy."""

from __future__ import annotations

import hashlib
import re

from kubectl_egress import kinds, paths
from kubectl_egress.journal import AnnotationRecord
from kubectl_egress.model import Body, Edit
from kubectl_egress.urls import apply_edits, inverse

PROXY_CONFIG = "proxy.istio.io/config"
_SETTING = "holdApplicationUntilProxyStarts"
_VALUE = re.compile(rf"""(["']?{_SETTING}["']?\s*:\s*)(\w+)""")


def held(body: Body, kind: str) -> tuple[Body, tuple[AnnotationRecord, ...]]:
    """The workload with `holdApplicationUntilProxyStarts`, and the record of it; none where it says so already.

    The annotation holds YAML, of which everything else stays.
    """
    steps = (*kinds.template_steps(kind), "metadata")
    metadata = _at(body, steps)
    annotations = metadata.get("annotations") or {}
    before = annotations.get(PROXY_CONFIG)
    edits = hold_edits(before or "")
    if not edits:
        return body, ()
    after = apply_edits(before or "", edits)
    changed = {**metadata, "annotations": {**annotations, PROXY_CONFIG: after}}
    record = AnnotationRecord(PROXY_CONFIG, None if before is None else _hash(before), _hash(after), edits)
    return paths.replaced(body, steps, changed), (record,)


def hold_edits(config: str) -> tuple[Edit, ...]:
    """What makes applications wait for their proxy in its configuration (YAML, in block or flow style)."""
    if found := list(_VALUE.finditer(config)):
        return tuple(Edit(one.start(2), one[2], "true") for one in found if one[2] != "true")
    if config.lstrip().startswith("{"):
        at = config.index("{") + 1
        comma = "" if config[at:].strip() == "}" else ", "
        return (Edit(at, "", f'"{_SETTING}": true{comma}'),)
    end = len(config.rstrip("\n"))
    return (Edit(end, config[end:], ("\n" if config.strip() else "") + f"{_SETTING}: true\n"),)


def annotation_put_back(body: Body, kind: str, record: AnnotationRecord) -> tuple[Body, str]:
    """The workload with one annotation as it was, or the reason why it was left as it is."""
    steps = (*kinds.template_steps(kind), "metadata")
    metadata = dict(_at(body, steps))
    annotations = dict(metadata.get("annotations") or {})
    now = annotations.get(record.key)
    found = None if now is None else _hash(now)
    if found == record.before:
        return body, ""
    if now is None or found != record.after:
        return body, "somebody else has changed it since"
    if record.before is None:
        del annotations[record.key]
    else:
        annotations[record.key] = apply_edits(now, inverse(record.edits))
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    return paths.replaced(body, steps, metadata), ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _at(body: Body, steps: tuple[str | int, ...]) -> Body:
    try:
        found: Body = paths.get(body, steps)
    except KeyError:
        return {}
    return found
