"""What the pods of a workload call, as far as its pod template and the ConfigMaps and Secrets that it reads say so.

Everything is read where it stands: a call site's address is the address of the string in its own object.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from kubectl_egress import kinds, paths
from kubectl_egress.model import Body, CallSite, Document, Edit, Part, Ref, Steps, Url
from kubectl_egress.places import KUBELET_PLACES, Forced, Place, matches, strings_at
from kubectl_egress.scan.files import SCHEME_BEFORE_VARIABLE, values_of
from kubectl_egress.scan.identifiers import REASONS, identifier
from kubectl_egress.scan.naming import Name, name_of
from kubectl_egress.scan.parts import Reading, readings, why_not
from kubectl_egress.scan.settings import Setting, SplitCall
from kubectl_egress.scan.showing import has_user_info
from kubectl_egress.scan.sign_in import Mappings, beside, stems_of
from kubectl_egress.scan.strings import Found, Reader
from kubectl_egress.urls import external, find_urls

REASON_COMMENT = "in a comment"
REASON_COMPOSED = "composed of several settings: change them by hand"
REASON_KUBELET = "called by the kubelet, past every sidecar"
REASON_SPLIT = "said by several settings ({} too){}: change them by hand"
REASON_SHARED = "said by several settings, which another workload reads as well: change them by hand"
REASON_NO_SCHEME = "a host and a port without a scheme: change it by hand"
REASON_LENGTH = (
    "user info before a port in a Secret: the journal would tell how long it is; take the port out if it is 443"
)
REASON_NO_TEMPLATE = "in no pod template: whatever makes the pods has to be changed"
REASON_SERVICE = "a Service, by its name and namespace"
REASON_REGISTRY = "a host of the mesh's own registry"
_ASIDE = frozenset({REASON_COMMENT, REASON_KUBELET, REASON_SERVICE, REASON_REGISTRY})

# On a workload or its pod template: hosts, separated by commas, whose URLs are calls whatever they look like; `*` for all.
CALLS_ANNOTATION = "egress.kubectl/calls"
# A proxy of the application's own is no host that it calls: `own-proxy` is about it.
_PROXY = re.compile(r" (?:https?|all|no|ftp|wss?) proxy $")
_PROXY_OPTIONS = frozenset({"--proxy", "--preproxy"})
_COMPOSED = re.compile(r"\$\([^()]{1,300}\)://\$\([^()]{1,300}\)")
_HOST_VARIABLE = re.compile(r"[A-Za-z]+://\$\(([^()]+)\)(?=[/?#\s]|\Z)")
_FARTHEST = 64
_BETWEEN_ITEMS = re.compile(r"[\s\"',;|]*(?:-[ \t]+)?[\"']?")


def scan(
    workload: Document,
    sources: Mapping[Ref, Body],
    places: Iterable[Place] = (),
    *,
    forced: Collection[Forced] = (),
    cluster_domain: str = "cluster.local",
    namespaces: Collection[str] = (),
) -> tuple[CallSite, ...]:
    """Every URL of an external host that the workload's pods call, each once, in the order of the object.

    `sources` holds what the template's references lead to, Secrets as `secret_values.readable` has them; one that is missing
    is no error. `places` are rows of `--path`, `forced` what `--force` says, `namespaces` those that the cluster is known
    to have. What must not or cannot be rewritten has a reason.
    """
    calls = _annotated(workload)
    sites: dict[tuple[Ref, Steps, int], CallSite] = {}
    for site in _sites(workload, sources, places):
        if external(site.host.name, cluster_domain):
            key = (site.object, site.steps, site.url.start)
            known = _called(site) if is_identifier(site) and _is_forced(site, forced, calls) else site
            if _may_be_service(site.host.name, namespaces):
                known = replace(known, reason=REASON_SERVICE)
            sites[key] = _shared(sites[key], known) if key in sites else known
    return tuple(sites.values())


def is_aside(site: CallSite) -> bool:
    """Whether it is no call of the pods: a comment, what the kubelet or the mesh serves, what only looks like a call."""
    return site.reason in _ASIDE or is_identifier(site)


def is_identifier(site: CallSite) -> bool:
    """Whether it looks like a call and is none, by a rule of `identifiers`; `--force` and the annotation overrule that."""
    return site.reason in REASONS


def _may_be_service(name: str, namespaces: Collection[str]) -> bool:
    """Whether it reads `name.namespace`: the pod's resolver asks the cluster for that before it asks the world."""
    return name.count(".") == 1 and name.partition(".")[2] in namespaces


def _annotated(workload: Document) -> frozenset[str]:
    """The hosts that the annotation names."""
    template = kinds.pod_template(workload.body) or {}
    found = [(one.get("metadata") or {}).get("annotations") or {} for one in (workload.body, template)]
    words = (str(annotations.get(CALLS_ANNOTATION, "")).replace(",", " ").split() for annotations in found)
    return frozenset(word.lower().rstrip(".") for listed in words for word in listed)


def _is_forced(site: CallSite, forced: Collection[Forced], calls: Collection[str]) -> bool:
    return (
        "*" in calls
        or site.host.name in calls
        or (bool(forced) and Forced(site.host.name, paths.kubectl_path(site.steps)) in forced)
    )


def _called(site: CallSite) -> CallSite:
    return replace(site, reason=REASON_COMPOSED if not site.url.edits and site.url.encrypted else "")


def _shared(known: CallSite, again: CallSite) -> CallSite:
    """The same URL, read a second time: by which container is then no longer one name, and it is no call if one says so."""
    told = again if is_identifier(again) and not known.reason else known
    return told if again.container in ("", known.container) else replace(told, container="")


def _sites(workload: Document, sources: Mapping[Ref, Body], places: Iterable[Place]) -> Iterator[CallSite]:
    template = kinds.pod_template(workload.body) or {}
    prefix = kinds.template_steps(workload.ref.kind) if template else ()
    reader = Reader(workload.ref, template, sources)
    read = readings(workload, reader)
    for one in read:
        reasons = [why_not(call, one, read) for call in one.calls]
        changing = [call for call, why in zip(one.calls, reasons, strict=True) if not why]
        composed = {_composed_of(call) for call in changing}
        hosts = frozenset(setting.name for call in changing for role, setting, _ in call.parts if role == "host")
        for found in one.strings:
            for site in _call_sites(workload, found, hosts):
                # its settings say the same call, and are what changes
                again = _COMPOSED.match(found.text, site.url.start) if composed else None
                if site.reason != REASON_COMPOSED or again is None or again[0] not in composed:
                    yield site
        for call, why in zip(one.calls, reasons, strict=True):
            yield from _split_sites(workload, call, one, why)
        yield from _kubelet_sites(workload, one.steps, one.container)
    for found, reason in reader.annotations(prefix):
        for site in _call_sites(workload, found):
            yield replace(site, reason=site.reason or reason)
    for place in places:
        if place.concerns(workload):
            for steps, text in strings_at(place, workload.body):
                in_template = bool(template) and steps[: len(prefix)] == prefix
                for site in _call_sites(workload, _placed(workload, steps, text)):
                    yield site if in_template or site.reason else replace(site, reason=REASON_NO_TEMPLATE)


def _placed(workload: Document, steps: Steps, text: str) -> Found:
    """A string that a row of `--path` found, with the names of the list entries on the way, by which it is found again."""
    names = []
    for number, step in enumerate(steps):
        item = paths.get(workload.body, steps[: number + 1]) if isinstance(step, int) else None
        names += [str(item.get("name", ""))] if isinstance(item, Mapping) else []
    container, entry = (*names, "", "")[:2]
    key = next((step for step in reversed(steps) if isinstance(step, str)), "")
    around = paths.get(workload.body, steps[:-1]) if steps else None
    stems = stems_of(map(str, around)) if isinstance(around, Mapping) else frozenset()
    return Found(workload.ref, steps, text, container, entry, key if not entry else "", sign_in=stems)


# ---- call sites -----------------------------------------------------------------------------------------------------


def _call_sites(workload: Document, found: Found, plain: Collection[str] = ()) -> Iterator[CallSite]:
    """The URLs that stand in a string, then those that appear only when Kubernetes has resolved it.

    `plain`: variables that will be a host's name and nothing else.
    """
    composed = found.expansion.composed() if found.expansion else ()
    starts = {url.start for url in composed}
    urls = find_urls(found.text)
    comments = found.comments(found.text) if urls and found.comments else ()
    mappings = Mappings(found.text) if urls else None
    end, name = 0, Name()
    for url in urls:
        between = found.text[end : url.start]
        # What stands behind a comma has the name of the first: `REDIRECT_URIS=https://a/,https://b/`.
        if not end or len(between) > _FARTHEST or not _BETWEEN_ITEMS.fullmatch(between):
            name = name_of(found.text, url.start, found.label, found.entry)
        end = url.end
        if url.start not in starts and not _is_proxy(name):
            reason = REASON_COMMENT if _within(url.start, comments) else _no_call(found, name, url, mappings)
            yield _call_site(workload, found, url, reason)
    for url in composed:
        name = name_of(found.text, url.start, found.label, found.entry)
        if not _is_proxy(name):
            yield _composed_site(workload, found, url, _no_call(found, name, url, None), plain)


def _composed_site(workload: Document, found: Found, url: Url, reason: str, will_be_plain: Collection[str]) -> CallSite:
    """A URL that is put together: `https://$(API_HOST)/v1` in `env` says the scheme itself, and can be changed there."""
    schemes = values_of(found.text, SCHEME_BEFORE_VARIABLE) if found.entry and url.encrypted else ()
    number = bisect_left(schemes, (url.start, ""))
    authority = re.match(r"[a-z]+://([^/?#]*)", url.text, re.IGNORECASE)
    variable = _HOST_VARIABLE.match(found.text, url.start)
    plain = (authority is not None and authority[1].lower() == url.host.name) or (
        variable is not None and variable[1] in will_be_plain
    )
    if reason or not plain or number == len(schemes) or schemes[number][0] != url.start:
        return _call_site(workload, found, url, reason or REASON_COMPOSED)
    scheme = schemes[number][1]
    edited = replace(url, edits=(Edit(url.start, scheme, scheme[:-1]),))
    part = Part("scheme", SCHEME_BEFORE_VARIABLE, number, len(schemes))
    return replace(_call_site(workload, found, edited, ""), part=part)


def _is_proxy(name: Name) -> bool:
    return bool(_PROXY.search(name.words)) or name.written in _PROXY_OPTIONS


def _no_call(found: Found, name: Name, url: Url, mappings: Mappings | None) -> str:
    """Why it is none, by its name, by that of the key whose value a variable gets, or by what is set beside it."""
    names = (name,) if name.inside or not found.label else (name, Name(found.entry))
    for one in names:
        # what stands in a file is beside what stands in that file
        near = beside(one, found.sign_in) if not one.inside or found.expansion else False
        near = near or (mappings is not None and mappings.beside(one, url.start))
        if reason := identifier(one, url.text, sign_in=near):
            return reason
    return ""


def _within(offset: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether one of the spans, which are in order, holds the offset."""
    before = bisect_right(spans, offset, key=lambda span: span[0])
    return before > 0 and offset < spans[before - 1][1]


def _call_site(workload: Document, found: Found, url: Url, reason: str) -> CallSite:
    own = found.object == workload.ref
    if found.object.kind == "Secret" and len(url.edits) > 1 and has_user_info(url):
        reason = reason or REASON_LENGTH
    return CallSite(
        workload=workload.ref,
        object=found.object,
        steps=found.steps,
        url=url,
        container=found.container,
        entry=found.entry,
        reason=reason,
        file=workload.file if own else "",
        line=workload.line if own else 0,
        secret=found.secret or found.object.kind == "Secret",
    )


def _composed_of(call: SplitCall) -> str:
    """How a string begins that Kubernetes composes of the settings of a call."""
    scheme = next(setting.name for role, setting, _ in call.parts if role == "scheme")
    return f"$({scheme})://$({call.host.name})"


def _split_sites(workload: Document, call: SplitCall, reading: Reading, why: str) -> Iterator[CallSite]:
    """Calls whose parts stand in several settings: found at each that has to change, or else at the host."""
    near = beside(Name(call.host.name), reading.sign_in)
    reason = identifier(Name(call.host.name), call.url.text, sign_in=near) or identifier(
        Name(f"{call.subject} host"), call.url.text
    )
    others = ", ".join(name for name in call.names if name != call.host.name)
    if call.parts and not (reason or why or call.url.reason):
        for role, setting, edit in call.parts:
            yield _part_site(workload, call, reading, role, setting, edit)
        return
    split = REASON_SPLIT.format(others, f", {why}" if why else "") if others else REASON_NO_SCHEME
    found = Found(call.host.object, call.host.steps, call.host.value, reading.name, call.host.entry)
    yield _call_site(workload, found, call.url, reason or split)


def _part_site(
    workload: Document, call: SplitCall, reading: Reading, role: str, setting: Setting, edit: Edit
) -> CallSite:
    start = setting.start
    url = replace(
        call.url, start=start, end=start + len(setting.value), edits=(replace(edit, start=start + edit.start),)
    )
    found = Found(setting.object, setting.steps, setting.value, reading.name, setting.entry)
    part = Part(role)
    if setting.inside:
        same = values_of(reading.texts[setting.object, setting.steps], setting.name)
        part = Part(role, setting.name, bisect_left(same, (start, "")), len(same))
    return replace(_call_site(workload, found, url, ""), part=part)


def _kubelet_sites(workload: Document, steps: Steps, container: Body) -> Iterator[CallSite]:
    """`httpGet` of probes and hooks that names a host: composed from its fields, found at the field `host`."""
    for place in KUBELET_PLACES:
        for inner, action in matches(container, place.pattern):
            host = action.get("host") if isinstance(action, Mapping) else None
            if isinstance(host, str) and host:
                url = _http_get(action, host, container)
                found = Found(workload.ref, (*steps, *inner, "host"), host, str(container.get("name", "")))
                if url is not None:
                    yield _call_site(workload, found, url, REASON_KUBELET)


def _http_get(action: Body, host: str, container: Body) -> Url | None:
    scheme = str(action.get("scheme") or "HTTP").lower()
    port = action.get("port", "")
    ports = [entry for _, entry in matches(container, ("ports", "*")) if isinstance(entry, Mapping)]
    number = next((entry.get("containerPort") for entry in ports if entry.get("name") == port), port)
    path = str(action.get("path") or "/")
    found = find_urls(f"{scheme}://{host}:{number}{path if path.startswith('/') else '/' + path}")
    return replace(found[0], start=0, end=len(host), edits=()) if len(found) == 1 else None
