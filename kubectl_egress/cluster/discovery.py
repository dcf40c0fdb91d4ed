"""What the API server says that it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubectl_egress.cluster import resources
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.errors import ApiError, ForbiddenError, NotFoundError
from kubectl_egress.kinds import KindRow

if TYPE_CHECKING:
    # The client takes 0.3 s to import.
    from kubectl_egress.cluster.transport import Transport

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def discovered(transport: Transport, root: str) -> tuple[ApiResource, ...]:
    """All resource types below `/api` or `/apis`: in one document where the server has it, else group by group."""
    document = transport.json("GET", root, accept=f"{DISCOVERY},application/json")
    if document.get("kind") == "APIGroupDiscoveryList":
        return tuple(resources.from_aggregated(document))
    if root == "/api":
        versions = list(document.get("versions") or ())
    else:
        groups = document.get("groups") or ()
        versions = [version["groupVersion"] for group in groups for version in group.get("versions") or ()]
    found: list[ApiResource] = []
    for version in versions:
        try:
            found += resources.from_resource_list(transport.json("GET", f"{root}/{version}"))
        except ApiError:
            # An aggregated API whose server is down; kubectl goes on without it, too.
            continue
    return tuple(found)


def custom_kinds(transport: Transport) -> tuple[KindRow, ...]:
    """The kinds of others that make pods and that are served; none where nobody may ask."""
    try:
        return resources.served_kinds(transport.json("GET", "/apis"))
    except (ForbiddenError, NotFoundError) as error:
        if error.status == 401:
            raise
        return ()
