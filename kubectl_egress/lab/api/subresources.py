"""Scale, logs, exec and port-forward: what hangs below an object."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from kubectl_egress.lab.api import channels
from kubectl_egress.lab.api.requests import Query, Target, number, truth
from kubectl_egress.lab.api.status import bad_request, not_in_the_lab
from kubectl_egress.lab.api.tables import selector_text
from kubectl_egress.lab.parts import LabRefusal, Node

Body = Mapping[str, Any]


def scale_of(body: Body) -> dict[str, Any]:
    """The Scale (autoscaling/v1) of a workload."""
    metadata = body["metadata"]
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in fields if field in metadata},
        "spec": {"replicas": body["spec"].get("replicas", 0)},
        "status": {
            "replicas": (body.get("status") or {}).get("replicas", 0),
            "selector": selector_text(body["spec"].get("selector")),
        },
    }


def scaled(body: Body, scale: Body) -> dict[str, Any]:
    """The workload with what a Scale says; the Scale's resourceVersion is a precondition.

    Raises StatusError (400).
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise bad_request("spec.replicas of a Scale is a whole number, 0 or more")
    version = (scale.get("metadata") or {}).get("resourceVersion", "")
    metadata = {**body["metadata"], "resourceVersion": version}
    return {**body, "metadata": metadata, "spec": {**body["spec"], "replicas": replicas}}


def container_of(pod: Body, query: Query) -> str:
    """The container that a request means.

    Raises StatusError (400), as the real server, where it is not clear.
    """
    spec = pod["spec"]
    init = [item["name"] for item in spec.get("initContainers") or []]
    names = [item["name"] for item in spec["containers"]]
    wanted, pod_name = query.get("container", ""), pod["metadata"]["name"]
    if wanted:
        if wanted not in (*init, *names):
            raise bad_request(f"container {wanted} is not valid for pod {pod_name}")
        return wanted
    if len(names) == 1 and not init:
        return str(names[0])
    message = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(names)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(message)


async def logs(request: web.Request, node: Node, pod: Body) -> web.StreamResponse:
    """A container's output as plain text.

    Raises StatusError: 400, and 501 for what needs the time of each line.
    """
    query = request.query
    for name in ("timestamps", "sinceSeconds", "sinceTime"):
        if query.get(name) not in (None, "", "false"):
            raise not_in_the_lab(f"logs with {name}")
    container = container_of(pod, query)
    limit, previous = number(query, "limitBytes"), truth(query.get("previous"))
    follow, tail = truth(query.get("follow")), number(query, "tailLines")
    output = node.logs(pod, container, follow=follow, tail=tail, previous=previous)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    try:
        first = await anext(output, None)
    except (LabRefusal, FileNotFoundError) as error:
        which = "previous terminated container" if previous else "container"
        message = f'{which} "{container}" in pod "{pod["metadata"]["name"]}" has no logs: {error}'
        raise bad_request(message) from error
    await response.prepare(request)
    sent = 0
    with contextlib.suppress(ConnectionError):  # the reader has gone
        while first is not None and (limit is None or sent < limit):
            chunk = first if limit is None else first[: limit - sent]
            await response.write(chunk)
            sent += len(chunk)
            first = await anext(output, None)
        await response.write_eof()
    return response


async def stream(request: web.Request, node: Node, aim: Target, pod: Body) -> web.StreamResponse:
    """Exec and port-forward.

    Raises StatusError: 400, and 501 for a client that does not speak WebSocket, or a sub-protocol that the lab does not.
    """
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise not_in_the_lab(f"{aim.subresource} over anything but WebSocket")
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    known = channels.EXEC_PROTOCOLS if aim.subresource == "exec" else channels.FORWARD_PROTOCOLS
    if not set(offered) & set(known):
        raise not_in_the_lab(f"{aim.subresource} with the sub-protocols {', '.join(filter(None, offered)) or '(none)'}")
    if aim.subresource == "exec":
        command = request.query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least one command for the container")
        names = ("stdin", "stdout", "stderr", "tty")
        asked = frozenset(name for name in names if truth(request.query.get(name)))
        return await channels.execute(request, node, pod, container_of(pod, request.query), command, asked)
    return await channels.forward(request, node, pod, _ports(request))


def _ports(request: web.Request) -> list[int]:
    texts = [text for value in request.query.getall("ports", []) for text in value.split(",")]
    if not texts or not all(text.isdecimal() and 0 < int(text) < 65536 for text in texts):
        raise bad_request("query parameter ports: port numbers between 1 and 65535 are needed")
    return [int(text) for text in texts]
