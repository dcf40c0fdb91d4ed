"""What `http://HOST` from an aliased pod comes to when something is missing, wrong, or somebody else's, on a real istiod.

Ours stand as a migration leaves them, by hand and in its order, in one namespace with a host for each case, so that all
cases are there at once. What is known to leave in clear is among them: it shows that the server counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from kubectl_egress.mesh import destination_rule, service_entry, virtual_service
from kubectl_egress.model import Body, Host
from tests.cluster.client import RealLab
from tests.cluster.crowd import Crowd, crowd_of
from tests.cluster.others import (
    ROOT_NAMESPACE,
    Other,
    claims_the_alias,
    entry,
    route,
    rule,
    short_route,
    short_service,
    subset_without_tls,
)

pytestmark = pytest.mark.cluster

ISTIO = os.environ.get("ISTIO", "1.31")
SERVED = "served over TLS"
REFUSED = "refused"
IN_CLEAR = "in clear"
NOT_IN_CLEAR = "served or refused"
"""Two entries of one host in one namespace have the endpoints of both, and one of them is the alias."""
RULE, ENTRY, ROUTE = "DestinationRule", "ServiceEntry", "VirtualService"
ALL = (RULE, ENTRY, ROUTE)
SETTLING = 60.0
TWO_TOGETHER = 2
"""Rounds that have to agree once the expected is there."""


@dataclass(frozen=True, slots=True)
class Case:
    """What stands there, and what becomes of a request; a result of its own for an Istio where they differ."""

    result: str
    before: Sequence[Other] = ()
    """Older than ours."""
    ours: Sequence[str] = ALL
    after: Sequence[Other] = ()
    """Younger than ours."""
    subset: bool = True
    """Whether the settings stand in our subset too."""
    claims: bool = False
    """Whether the entry has the alias's address."""
    pod: str = "caller"
    """From which Deployment's pod it is called."""
    url: str = "http://{host}/status/200"
    options: str = ""
    """curl's; `{host}`, `{address}` as in `url`."""
    results: Mapping[str, str] | None = None

    @property
    def expected(self) -> str:
        """On the Istio of this run."""
        return (self.results or {}).get(ISTIO, self.result)


def host_of(name: str) -> str:
    """The host of a case."""
    return f"{name}.example.net"


NOT_ROUTE = (RULE, ENTRY)
HEADLESS_TOP = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
PORT_DISABLED = {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]}
NO_TARGET = [{"number": 80, "name": "http", "protocol": "HTTP"}]
CASES = {
    # ---- ours alone, and what is missing of them
    "all": Case(SERVED),
    "no-rule": Case(REFUSED, ours=(ENTRY, ROUTE)),
    "no-route": Case(SERVED, ours=NOT_ROUTE),
    "no-entry": Case(REFUSED, ours=(RULE, ROUTE)),
    "nothing": Case(REFUSED, ours=()),
    "entry-alone": Case(IN_CLEAR, ours=(ENTRY,)),
    # ---- an older rule without TLS
    "older-dot": Case(SERVED, before=[rule(".")]),
    "older-star": Case(SERVED, before=[rule("*")]),
    "older-unsaid": Case(SERVED, before=[rule()]),
    "older-own-name": Case(SERVED, before=[rule("namespace")]),
    "older-port": Case(SERVED, before=[rule(".", policy=PORT_DISABLED)]),
    "older-dot-no-route": Case(IN_CLEAR, before=[rule(".")], ours=NOT_ROUTE),
    "older-star-no-route": Case(SERVED, before=[rule("*")], ours=NOT_ROUTE, results={"1.18": IN_CLEAR}),
    "older-unsaid-no-route": Case(SERVED, before=[rule()], ours=NOT_ROUTE, results={"1.18": IN_CLEAR}),
    "older-dot-no-subset": Case(IN_CLEAR, before=[rule(".")], ours=NOT_ROUTE, subset=False),
    "older-star-no-subset": Case(SERVED, before=[rule("*")], ours=NOT_ROUTE, subset=False, results={"1.18": IN_CLEAR}),
    "older-wildcard.under": Case(SERVED, before=[rule(pattern="*.under.example.net")]),
    # ---- a younger one
    "newer-dot": Case(SERVED, after=[rule(".")]),
    "newer-star": Case(REFUSED, after=[rule("*")], results={"1.18": SERVED}),
    "newer-unsaid": Case(REFUSED, after=[rule()], results={"1.18": SERVED}),
    "newer-superset": Case(SERVED, after=[rule(".", "elsewhere")]),
    # ---- one for some workloads
    "older-selecting": Case(SERVED, before=[rule(workloadSelector={"matchLabels": {"app": "caller"}})]),
    "newer-selecting": Case(
        SERVED, after=[rule(workloadSelector={"matchLabels": {"app": "caller"}})], results={"1.18": REFUSED}
    ),
    "older-selecting-others": Case(
        REFUSED, before=[rule(workloadSelector={"matchLabels": {"app": "nobody"}})], results={"1.18": SERVED}
    ),
    "newer-selecting-others": Case(
        REFUSED, after=[rule(workloadSelector={"matchLabels": {"app": "nobody"}})], results={"1.18": SERVED}
    ),
    # ---- our subset's name
    "older-same-subset": Case(IN_CLEAR, before=[rule(".", **subset_without_tls())]),
    "newer-same-subset": Case(SERVED, after=[rule(".", **subset_without_tls())]),
    "newer-star-same-subset": Case(IN_CLEAR, after=[rule("*", **subset_without_tls())], results={"1.18": SERVED}),
    "selecting-same-subset": Case(
        IN_CLEAR, after=[rule(**subset_without_tls(workloadSelector={"matchLabels": {"app": "caller"}}))]
    ),
    # ---- rules of other namespaces
    "elsewhere": Case(SERVED, before=[rule("*", where="elsewhere", **subset_without_tls())]),
    "root": Case(SERVED, before=[rule("*", where=ROOT_NAMESPACE, **subset_without_tls())]),
    "root-no-rule": Case(
        IN_CLEAR, before=[rule("*", where=ROOT_NAMESPACE, **subset_without_tls())], ours=(ENTRY, ROUTE)
    ),
    # ---- entries of others
    "older-entry": Case(NOT_IN_CLEAR, before=[entry()]),
    "newer-entry": Case(NOT_IN_CLEAR, after=[entry()]),
    "older-entry-none": Case(NOT_IN_CLEAR, before=[entry(resolution="NONE")]),
    "older-entry-no-443": Case(NOT_IN_CLEAR, before=[entry(ports=NO_TARGET)]),
    "entry-elsewhere": Case(SERVED, before=[entry("elsewhere")]),
    "older-entry-tcp": Case(REFUSED, before=[entry(ports=[{"number": 80, "name": "tcp", "protocol": "TCP"}])]),
    "newer-entry-tcp": Case(REFUSED, after=[entry(ports=[{"number": 80, "name": "tcp", "protocol": "TCP"}])]),
    "claims-alias": Case(IN_CLEAR, after=[claims_the_alias]),
    # ---- routes of others
    "older-route-dot": Case(SERVED, before=[route(exportTo=["."])]),
    "older-route-dot-443": Case(IN_CLEAR, before=[route(port=443, exportTo=["."])]),
    "older-route-unsaid-443": Case(SERVED, before=[route(port=443)]),
    "newer-route-443": Case(SERVED, after=[route(port=443, exportTo=["."])]),
    "route-elsewhere-443": Case(SERVED, before=[route("elsewhere", port=443)]),
    # ---- other forms of the same request
    "dotted": Case(SERVED, url="http://{host}./status/200", results={"1.24": IN_CLEAR, "1.18": IN_CLEAR}),
    "upper-case": Case(SERVED, url="http://{HOST}/status/200"),
    "with-port": Case(SERVED, url="http://{host}:80/status/200", options="-H 'Host: {host}:80'"),
    "absolute": Case(SERVED, options="--request-target http://{host}/status/200"),
    "h2c": Case(SERVED, options="--http2-prior-knowledge"),
    "upgrade": Case(SERVED, options="-H 'Connection: Upgrade' -H 'Upgrade: websocket'"),
    "old-protocol": Case(REFUSED, pod="narrow", options="--http1.0 -H Host:"),
    "past-the-hosts-file": Case(SERVED, options="--resolve {host}:80:{address}"),
    "past-the-hosts-file-no-entry": Case(REFUSED, ours=(RULE, ROUTE), options="--resolve {host}:80:{address}"),
    "past-the-hosts-file-nothing": Case(IN_CLEAR, ours=(), options="--resolve {host}:80:{address}"),
    "short-name": Case(
        SERVED, after=[short_service, short_route], url="http://{alias}/status/200", options="-H 'Host: short'"
    ),
    # ---- other pods
    "no-sidecar": Case(REFUSED, pod="bare"),
    "narrow": Case(REFUSED, pod="narrow"),
    "listener": Case(SERVED, pod="listener"),
    "registry-only": Case(SERVED, pod="registry-only"),
    "registry-only-nothing": Case(REFUSED, ours=(), pod="registry-only"),
    "capturing": Case(SERVED, pod="capturing"),
    # The label is known from 1.25 on.
    "capturing-https": Case(
        SERVED,
        pod="capturing",
        url="https://{host}/status/200",
        options="-k",
        results={"1.24": REFUSED, "1.18": REFUSED},
    ),
    "capturing-claimed": Case(SERVED, pod="capturing", claims=True),
    "capturing-claimed-https": Case(
        SERVED, pod="capturing", claims=True, url="https://{host}/status/200", options="-k"
    ),
    # ---- https from the same pod
    "https": Case(SERVED, url="https://{host}/status/200", options="-k"),
}
SIDECARS: dict[str, Body] = {
    # Elsewhere, what is not taken for HTTP goes to the TCP entries on port 80.
    "narrow": {"egress": [{"hosts": [f"{ROOT_NAMESPACE}/*", f"./{host_of('old-protocol')}"]}]},
    "listener": {
        "egress": [
            {"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["./*"]},
            {"hosts": ["./*"]},
        ]
    },
    "registry-only": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}},
}
CAPTURING = '{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}}'


def ours(case: Case, host: Host, crowd: Crowd) -> dict[str, Body]:
    """What a migration writes, by kind, as far as the case has it."""
    namespace = crowd.scene.namespace
    bodies = (
        destination_rule(host, namespace),
        service_entry(host, namespace, alias=crowd.alias(host), claims=[crowd.alias(host)] if case.claims else []),
        virtual_service(host, namespace),
    )
    found = {body["kind"]: body for body in bodies if body["kind"] in case.ours}
    if not case.subset:
        spec = {key: value for key, value in found[RULE]["spec"].items() if key != "subsets"}
        found[RULE] = {**found[RULE], "spec": spec}
    return found


def sidecar(name: str, spec: Body, crowd: Crowd) -> Body:
    """A Sidecar for the pods of one Deployment."""
    metadata = {"name": name, "namespace": crowd.scene.namespace}
    return {"kind": "Sidecar", "metadata": metadata, "spec": {"workloadSelector": {"labels": {"app": name}}, **spec}}


def next_second() -> None:
    """Objects tell their age by the second."""
    time.sleep(1.05 - time.time() % 1)


@pytest.fixture(scope="module")
def crowd(cluster: RealLab) -> Iterator[Crowd]:
    with crowd_of(cluster, [host_of(name) for name in CASES]) as found:
        found.create(sidecar(name, spec, found) for name, spec in SIDECARS.items())
        found.start(["caller", *SIDECARS])
        found.start(["capturing"], annotations={"proxy.istio.io/config": CAPTURING})
        found.start(["bare"], annotations={"sidecar.istio.io/inject": "false"})
        for name in ("caller", *SIDECARS, "capturing", "bare"):
            found.scene.rolled_out(name)
        cases = dict(zip(found.hosts, CASES.values(), strict=True))
        found.create(make(host, found.place(host)) for host, case in cases.items() for make in case.before)
        next_second()
        wanted = {host: ours(case, host, found) for host, case in cases.items()}
        for kind in ALL:
            found.create(bodies[kind] for bodies in wanted.values() if kind in bodies)
        next_second()
        found.create(make(host, found.place(host)) for host, case in cases.items() for make in case.after)
        yield found


@pytest.fixture(scope="module")
def results(crowd: Crowd) -> Mapping[str, str]:
    """What became of a request, by case, once every proxy has heard of everything."""
    expected = {name: case.expected for name, case in CASES.items()}
    deadline = time.monotonic() + SETTLING
    agreeing = 0
    while agreeing < TWO_TOGETHER and time.monotonic() < deadline:
        found = round_of_requests(crowd)
        agreeing = agreeing + 1 if all(agrees(found[name], expected[name]) for name in CASES) else 0
    return found


def agrees(result: str, expected: str) -> bool:
    """Whether a request went as expected."""
    return result == expected or (expected == NOT_IN_CLEAR and result in (SERVED, REFUSED))


def round_of_requests(crowd: Crowd) -> dict[str, str]:
    """One request to each host. What left in clear in earlier rounds does not count: a proxy heard of the entry first."""
    before = crowd.in_clear()
    hosts = dict(zip(CASES, crowd.hosts, strict=True))
    codes: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:
        for said in pool.map(lambda pod: answers(crowd, pod, hosts), {case.pod for case in CASES.values()}):
            codes |= said
    clear = crowd.in_clear()
    return {
        name: IN_CLEAR if clear[host.name] > before[host.name] else SERVED if codes[name] == "200" else REFUSED
        for name, host in hosts.items()
    }


def answers(crowd: Crowd, pod: str, hosts: Mapping[str, Host]) -> dict[str, str]:
    """The status of one request for each case of a pod, by case."""
    names = [name for name, case in CASES.items() if case.pod == pod]
    calls = []
    for name in names:
        host = hosts[name].name
        words = {**crowd.place(hosts[name]), "host": host, "HOST": host.upper()}
        calls.append((CASES[name].options.format(**words), CASES[name].url.format(**words)))
    return dict(zip(names, crowd.answers(pod, calls), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_a_request(results: Mapping[str, str], name: str) -> None:
    assert agrees(results[name], CASES[name].expected), results[name]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_sent_once_and_as_the_application_said_it(
    crowd: Crowd, cluster: RealLab, results: Mapping[str, str], method: str
) -> None:
    """The control is a namespace's own default, without our route."""

    def seen(name: str) -> list[Mapping[str, Any]]:
        path = f"/status/503?{method}"
        crowd.answers("caller", [(f"-X {method}", f"http://{host_of(name)}{path}")])
        return [one for one in cluster.requests() if (one["name"], one["path"]) == (host_of(name), path)]

    [request] = seen("all")
    headers = {key.lower(): value for key, value in request["headers"]}
    assert headers["x-forwarded-proto"] == "https"
    assert not [key for key in headers if key.startswith("x-envoy")], headers
    assert (request["tls"], request["sni"], headers["host"]) == (True, host_of("all"), host_of("all"))
    assert len(seen("no-route")) == (3 if ISTIO == "1.18" else 1)
