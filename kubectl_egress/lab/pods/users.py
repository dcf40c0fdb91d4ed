"""As whom a container runs."""

from __future__ import annotations

from kubectl_egress.lab.network import PROXY_UID
from kubectl_egress.lab.parts import Body, LabRefusal

NOBODY = 65534


def user_of(pod: Body, container: Body, *, single_user: bool) -> int | None:
    """The UID; None for the only one that there is. LabRefusal for the proxy's, where it could not be told from others."""
    wanted = (container.get("securityContext") or {}).get("runAsUser")
    if wanted is None:
        wanted = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    if not single_user:
        return NOBODY if wanted is None else int(wanted)
    if wanted == PROXY_UID:
        raise LabRefusal("runAsUser 1337: without root the lab has one UID only")
    return None
