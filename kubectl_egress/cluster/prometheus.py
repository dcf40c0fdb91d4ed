"""Asking Prometheus: at an address, or through the API server's proxy of its Service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.errors import ApiError, EgressError, ForbiddenError, UnreachableError, UsageError
from kubectl_egress.model import Body
from kubectl_egress.prometheus import parsed
from kubectl_egress.prometheus.answers import Samples, scalar
from kubectl_egress.urls import shown

AUTO = "auto"
TIMEOUT = 30.0
READERS = 6
# Istio's add-on, the community's chart, the operator's stack: the labels of their Services.
LABELS = (
    "app.kubernetes.io/name=prometheus",
    "app=prometheus",
    "app=kube-prometheus-stack-prometheus",
)
# What the operator makes beside them, for the same Prometheus.
OPERATED = "operated-prometheus=true"
PORTS = (9090, 80)


class Prometheus:
    """One Prometheus; any thread may ask it."""

    def __init__(self, cluster: Cluster, where: str) -> None:
        """`where`: a URL, NAMESPACE/SERVICE[:PORT], or `auto`. UsageError for anything else; EgressError if none is found."""
        self._cluster = cluster
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)
        if "://" in where:
            parts = urlsplit(where)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise UsageError(
                    f"{shown(where)!r} is no address of a Prometheus", "it begins with http:// or https://"
                )
            self._url, self._path = where.rstrip("/"), ""
            self.name = shown(where)
            return
        self._url = ""
        namespace, service, port = found(cluster) if where == AUTO else _service(where)
        self._path = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"
        self.name = f"{namespace}/{service}:{port}"

    def ask(self, queries: Mapping[str, str]) -> tuple[Mapping[str, Samples], float]:
        """The samples by the query's name, and Prometheus' own time. UnreachableError, ApiError, EgressError."""
        with ThreadPoolExecutor(READERS, "prometheus") as pool:
            asked = {name: pool.submit(self._query, query) for name, query in queries.items()}
            now = scalar(self._query("time()"))
            return {name: parsed(future.result()) for name, future in asked.items()}, now

    def _query(self, query: str) -> Body:
        given = {"query": query}
        if self._path:
            try:
                return self._cluster.transport.json("GET", f"{self._path}/api/v1/query", given)
            except ForbiddenError as error:
                remedy = (
                    "it takes get on services/proxy; or forward its port, and give --prometheus http://localhost:9090"
                )
                raise ForbiddenError(error.message, remedy, status=error.status, reason=error.reason) from error
            except ApiError as error:
                raise UnreachableError(
                    f"Prometheus {self.name} does not answer through the API server: {error.message}",
                    f"see that it runs: kubectl get endpoints -n {self.name.partition('/')[0]}",
                ) from error
        return self._direct(given)

    def _direct(self, given: Mapping[str, str]) -> Body:
        parts = urlsplit(self._url)
        headers = urllib3.make_headers(basic_auth=f"{parts.username}:{parts.password or ''}") if parts.username else {}
        netloc = parts.netloc.rpartition("@")[2]
        url = f"{parts.scheme}://{netloc}{quote(parts.path)}/api/v1/query?{urlencode(given)}"
        try:
            answer = self._pool.request("GET", url, headers={**headers, "Accept": "application/json"})
        except HTTPError as error:
            why = str(error.__cause__ or error).rpartition(": ")[2]
            raise UnreachableError(
                f"Prometheus {self.name} does not answer: {shown(why)}", "check --prometheus"
            ) from error
        try:
            document: Body = json.loads(answer.data)
        except ValueError as error:
            raise EgressError(
                f"what answers at {self.name} is no Prometheus (HTTP {answer.status})", "check --prometheus"
            ) from error
        return document


def _service(text: str) -> tuple[str, str, int]:
    namespace, slash, rest = text.partition("/")
    service, _, port = rest.partition(":")
    if not (namespace and slash and service) or (port and not port.isdigit()) or "/" in service:
        raise UsageError(
            f"{text!r} is no Prometheus", "give a URL, NAMESPACE/SERVICE[:PORT], or auto to look for one in the cluster"
        )
    return namespace, service, int(port or 9090)


def found(cluster: Cluster) -> tuple[str, str, int]:
    """Namespace, Service and port of the cluster's Prometheus, by the labels that its charts give it.

    EgressError where there is none, or more than one, since an answer of the wrong one would look like silence.
    """
    seen: dict[tuple[str, str], int] = {}
    try:
        for selector in LABELS:
            seen |= _services(cluster, selector)
        spaces = {namespace for namespace, _ in seen}
        seen |= {key: port for key, port in _services(cluster, OPERATED).items() if key[0] not in spaces}
    except ForbiddenError as error:
        raise EgressError(
            f"Prometheus cannot be looked for: {error.message}", "give --prometheus URL or NAMESPACE/SERVICE:PORT"
        ) from error
    if len(seen) != 1:
        names = ", ".join(f"{namespace}/{name}:{port}" for (namespace, name), port in sorted(seen.items()))
        raise EgressError(
            f"{'several Prometheus were' if seen else 'no Prometheus was'} found in the cluster{': ' if names else ''}{names}",
            "give --prometheus NAMESPACE/SERVICE:PORT or a URL",
        )
    [(namespace, name)] = seen
    return namespace, name, seen[namespace, name]


def _services(cluster: Cluster, selector: str) -> dict[tuple[str, str], int]:
    found = {}
    for body in cluster.list("v1", "services", None, label_selector=selector):
        ports = [port["port"] for port in body["spec"].get("ports") or ()]
        usable = [port for port in PORTS if port in ports]
        if usable:
            found[body["metadata"]["namespace"], body["metadata"]["name"]] = usable[0]
    return found
