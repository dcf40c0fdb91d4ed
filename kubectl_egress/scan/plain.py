"""URLs that a pod template itself has in clear: of a host's, an undo leaves no more than there were before."""

from __future__ import annotations

from kubectl_egress import kinds, paths, urls
from kubectl_egress.model import Body, Host


def plain_urls(template: Body, host: Host) -> int:
    """How many `http://` and `ws://` URLs of a host stand in the containers of a pod template, or of a pod.

    On port 80, which a migration leads to the server's own, and on that.
    """
    ports = (80, host.port)
    return sum(
        not url.encrypted and url.host.port in ports
        for _, container, _ in kinds.containers(template)
        for _, text in paths.walk_strings({key: container.get(key) for key in ("command", "args", "env")})
        for url in urls.occurrences(text, host.name)
    )
