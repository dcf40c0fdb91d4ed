"""The pod annotation that lets the application start after its proxy."""

from __future__ import annotations

import re

from kubectl_egress import kinds, paths
from kubectl_egress.journal import AnnotationRecord
from kubectl_egress.model import Body

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
    after = with_hold(before or "")
    if after == before:
        return body, ()
    changed = {**metadata, "annotations": {**annotations, PROXY_CONFIG: after}}
    return paths.replaced(body, steps, changed), (AnnotationRecord(PROXY_CONFIG, before, after),)


def with_hold(config: str) -> str:
    """A proxy configuration (YAML, in block or flow style) in which applications wait for their proxy."""
    if _VALUE.search(config):
        return _VALUE.sub(r"\1true", config)
    if config.lstrip().startswith("{"):
        at = config.index("{") + 1
        comma = "" if config[at:].strip() == "}" else ", "
        return f'{config[:at]}"{_SETTING}": true{comma}{config[at:]}'
    return "".join([config.rstrip("\n"), "\n" if config.strip() else "", f"{_SETTING}: true\n"])


def annotation_put_back(body: Body, kind: str, record: AnnotationRecord) -> tuple[Body, str]:
    """The workload with one annotation as it was, or the reason why it was left as it is."""
    steps = (*kinds.template_steps(kind), "metadata")
    metadata = dict(_at(body, steps))
    annotations = dict(metadata.get("annotations") or {})
    now = annotations.get(record.key)
    if now == record.before:
        return body, ""
    if now != record.after:
        return body, "somebody else has changed it since"
    if record.before is None:
        del annotations[record.key]
    else:
        annotations[record.key] = record.before
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    return paths.replaced(body, steps, metadata), ""


def _at(body: Body, steps: tuple[str | int, ...]) -> Body:
    try:
        found: Body = paths.get(body, steps)
    except KeyError:
        return {}
    return found
