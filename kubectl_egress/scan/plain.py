"""URLs that a pod template itself has in clear: of a host's, an undo leaves no more than there were before."""

from __future__ import annotations

from kubectl_egress import kinds, paths, urls
from kubectl_egress.model import Body, Host


def plain_urls(template: Body, host: Host) -> int:
    """How many `http://` and `ws://` URLs of a host stand in the containers of a pod template, or of a pod.

    As `CallSite.server` has it, `http://HOST` is the server of port 443.
    """
    ports = (80, 443) if host.port == 443 else (host.port,)
    return sum(
        not url.encrypted and url.host.port in ports
        for _, container, _ in kinds.containers(template)
        for _, text in paths.walk_strings({key: container.get(key) for key in ("command", "args", "env")})
        for url in urls.occurrences(text, host.name)
    )
