"""What a finding was read from, as a place and a value that may be shown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from kubectl_egress import paths, urls
from kubectl_egress.findings.scope import Found, Scope
from kubectl_egress.model import Body, Evidence, Host, Ref, Steps
from kubectl_egress.scan import shown_site

LONGEST = 200
# Where people write what programs read, secrets included: of such a string its URLs alone are shown, masked.
_WRITTEN = ("env", "command", "args", "data", "binaryData", "stringData", "httpHeaders", "exec")


def evidence_of(found: Found, scope: Scope) -> tuple[Evidence, ...]:
    """Where the check looked: at what its finding names, else at the first call of the host; and what it adds itself."""
    ref = found.object or found.workload
    first: tuple[Evidence, ...]
    if ref is not None:
        first = (Evidence(ref, found.steps, shown(_value(scope, ref, found.steps), ref, found.steps)),)
    else:
        first = _call(scope, found.host) if found.host and not found.evidence else ()
    return tuple(dict.fromkeys([*first, *found.evidence]))


def _call(scope: Scope, host: Host) -> tuple[Evidence, ...]:
    for caller in scope.callers:
        for site in caller.uses(host):
            return (Evidence(site.object, site.steps, shown_site(site)),)
    return ()


def _value(scope: Scope, ref: Ref, steps: Steps) -> Any:
    body = _body(scope, ref)
    try:
        return paths.get(body, steps) if steps and body else None
    except KeyError:
        return None


def _body(scope: Scope, ref: Ref) -> Body:
    return scope.bodies.get(ref) or scope.survey.source(ref) or scope.mesh_bodies.get(ref) or {}


def shown(value: Any, ref: Ref, steps: Steps) -> str:
    """A value as it may be shown: nothing of a Secret, of what programs read the URLs, nothing of what has parts."""
    if isinstance(value, Mapping) and "env" in steps[-2:-1]:
        value = value.get("value")
    if ref.kind == "Secret" or value is None or isinstance(value, list | Mapping):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if isinstance(value, str) and any(step in _WRITTEN for step in steps):
        text = " ".join(url.text for url in urls.find_urls(text))
    return textwrap.shorten(urls.shown(text), LONGEST, placeholder=" …")
