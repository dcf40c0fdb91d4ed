"""What stands in the sources and is no call, or may be one that cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress import paths, urls
from kubectl_egress.findings.scope import Found, Scope, title
from kubectl_egress.scan import is_identifier
from kubectl_egress.scan.call_sites import CALLS_ANNOTATION


def looks_like_identifier(scope: Scope) -> Iterator[Found]:
    """URLs of the hosts that only look like calls; of all hosts, also of those that nothing calls, if none was asked for."""
    for site in scope.sites:
        wanted = (site.server,) if scope.everything else scope.called(site)
        for host in wanted if site.url.encrypted and is_identifier(site) else ():
            where = paths.kubectl_path(site.steps)
            place = where if site.object == site.workload else f"{where} of {title(site.object)}"
            yield Found(
                urls.shown(f"{place} stays as it is: it looks like {site.reason}"),
                f"if the pod does call it: --force '{site.host.name}={where}', or annotate the workload with "
                f"{CALLS_ANNOTATION}: {site.host.name}",
                site.workload,
                host,
                site.object,
                site.steps,
            )
