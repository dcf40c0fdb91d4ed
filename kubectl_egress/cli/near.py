"""Hosts that nobody calls, and which ones may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from kubectl_egress import kinds
from kubectl_egress.errors import EgressError
from kubectl_egress.model import CallSite, Document, Host
from kubectl_egress.paths import kubectl_path
from kubectl_egress.scan import is_identifier, source_references

SHOWN = 5
"""Hosts that are named where none is near."""


def check_called(
    hosts: Sequence[Host], called: Collection[Host], caller: str, inspect: str, sites: Sequence[CallSite] = ()
) -> None:
    """Raise EgressError for hosts that are not among those that are called.

    `caller`: the subject of the sentence, `nothing in namespace shop`; `inspect`: the command that shows what is called;
    `sites`: where hosts are named, called or not.
    """
    missing = [host for host in hosts if host not in called and not _covers(host, called)]
    if missing:
        raise EgressError(
            f"{caller} calls {', '.join(map(str, missing))}, as far as can be seen; nothing was changed",
            _looks(missing, sites) or hint(missing, called, inspect),
        )


def _looks(missing: Sequence[Host], sites: Sequence[CallSite]) -> str:
    """What to type where a host is named, but not called as far as its names tell."""
    site = next((site for site in sites if site.server in missing and is_identifier(site)), None)
    if site is None:
        return ""
    path = kubectl_path(site.steps)
    return f"{path} looks like {site.reason}; if the pod does call it: --force '{site.host.name}={path}'"


def secrets_unread(documents: Iterable[Document], *, with_secrets: bool) -> str:
    """The flag that would show more, with a blank before it, where pod templates name Secrets and none was read."""
    templates = (kinds.pod_template(one.body) or {} for one in documents)
    named = any(kind == "Secret" for template in templates for _, kind, _ in source_references(template))
    return " --include-secrets" if named and not with_secrets else ""


def by_name(hosts: Sequence[Host], sites: Sequence[CallSite]) -> tuple[Host, ...]:
    """The hosts with each wildcard replaced by those below it that are called; one that none is below stays.

    A wildcard has no alias and no name to check in a certificate: migrated by name, its hosts fail closed.
    """
    found: list[Host] = []
    for host in hosts:
        below = [
            site.server
            for site in sites
            if host.wildcard and site.url.encrypted and not is_identifier(site) and _below(site.server, host)
        ]
        found += sorted(set(below)) or [host]
    return tuple(dict.fromkeys(found))


def _below(one: Host, wildcard: Host) -> bool:
    return one.name.endswith(wildcard.name[1:]) and one.port == wildcard.port


def _covers(host: Host, called: Collection[Host]) -> bool:
    return host.wildcard and any(_below(one, host) for one in called)


def hint(missing: Sequence[Host], called: Collection[Host], inspect: str) -> str:
    """What may have been meant; where nothing is near, what there is."""
    names = [str(host) for host in sorted(called)]
    near = [
        name
        for host in missing
        for name in names
        if name in difflib.get_close_matches(str(host), names) or _related(name, str(host))
    ]
    if near:
        return f"did you mean {' or '.join(dict.fromkeys(near))}? {inspect} shows what is called"
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"external hosts that are called there: {listed or 'none'}; see {inspect}"


def _related(one: str, other: str) -> bool:
    """Whether one host is above or below the other, or the same at another port."""
    first, second = one.partition(":")[0], other.partition(":")[0]
    return first == second or first.endswith(f".{second}") or second.endswith(f".{first}")
