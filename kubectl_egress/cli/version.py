"""`kubectl egress version`: its own, the cluster's, istiod's and the proxies'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kubectl_egress import __version__
from kubectl_egress.cli.options import Connection, Namespace, output_option
from kubectl_egress.cli.output import check_format, emit, emit_document, say
from kubectl_egress.errors import ApiError, EgressError

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

FORMATS = ("json", "yaml")


def version(
    connection: Connection,
    namespace: Namespace = "",
    client: Annotated[
        bool, typer.Option("--client", help="If true, shows client version only (no server required).")
    ] = False,
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """Print the versions of this tool, the cluster, istiod and proxies.

    \b
    Examples:
      kubectl egress version
      kubectl egress version --client
    """
    check_format(output, FORMATS)
    document: dict[str, Any] = {"apiVersion": "egress.kubectl/v1", "kind": "VersionReport", "client": f"v{__version__}"}
    failure: EgressError | None = None
    if not client:
        try:
            document |= _server(connection, namespace)
        except EgressError as error:  # like kubectl, which says its own version all the same
            failure = error
    if output:
        emit_document(document, output)
    else:
        emit(version_text(document))
    if failure:
        raise failure
    return 0


def _server(connection: Connection, namespace: str) -> dict[str, Any]:
    from kubectl_egress.cluster import connect

    cluster = connect(connection.options(namespace))
    try:
        found: dict[str, Any] = {"server": cluster.version()}
        found["istiod"] = _images(cluster, None, "app=istiod", "discovery")
        found["proxies"] = _images(cluster, cluster.namespace, "", "istio-proxy")
        return found
    finally:
        cluster.close()


def _images(cluster: Cluster, namespace: str | None, selector: str, container: str) -> dict[str, int]:
    """How many pods run which version of the container, by its image's tag; a refusal is said, and costs no more."""
    try:
        pods = cluster.list("v1", "pods", namespace, label_selector=selector)
        return dict(sorted(Counter(tag for pod in pods for tag in image_tags(pod, container)).items()))
    except ApiError as error:
        say(f"warning: which {container} image runs is not known: {error.message}\n")
        return {}


def image_tags(pod: Any, container: str) -> Iterable[str]:
    """The tag of the container's image, be it a container or a native sidecar; `<digest>` where there is no tag."""
    spec = pod.get("spec", {})
    for one in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        if one.get("name") == container:
            name = str(one.get("image", "")).partition("@")[0]
            yield name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "<digest>"


def version_text(document: dict[str, Any]) -> str:
    """The versions as `kubectl version` prints its own."""
    lines = [f"Client Version: {document['client']}"]
    if "server" in document:
        lines.append(f"Server Version: {document['server']}")
        for title, key in (("Istiod Version", "istiod"), ("Proxy Version", "proxies")):
            counted = ", ".join(f"{tag} ({number})" for tag, number in document[key].items())
            lines.append(f"{title}: {counted or '<none>'}")
    return "\n".join(lines) + "\n"
