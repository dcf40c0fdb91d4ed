"""What istiod makes of the tool's objects and of those that get in their way, asserted on the embedded one and the real one.

Read as the tool reads it: from a sidecar's admin port, through its own parser. What a proxy does not say there, nobody
relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from kubectl_egress.cluster.proxies import read_page, read_snapshots
from kubectl_egress.lab.client import Lab
from kubectl_egress.mesh import SUBSET, before_entry, destination_rule, passing, service_entry, virtual_service
from kubectl_egress.model import Body, Host, ProxySnapshot, Upstream, VirtualHost
from kubectl_egress.proxy import listeners
from kubectl_egress.proxy.routing import route_of
from tests.cluster.scenes import scene_of
from tests.scene import Scene, until

pytestmark = [pytest.mark.cluster, pytest.mark.anywhere]

HOST = Host("httpbin.org")
SENTINEL = Host("api.example.com")
"""A host that is visible in any case: once a proxy knows it, it has heard of everything that came before."""
ALIAS = "192.0.2.48"
TLS = {"mode": "SIMPLE", "sni": HOST.name, "subjectAltNames": [HOST.name], "caCertificates": "system"}
PLAIN, SECURE, SUBSET_CLUSTER = (
    f"outbound|80||{HOST.name}",
    f"outbound|443||{HOST.name}",
    f"outbound|80|{SUBSET}|{HOST.name}",
)
SIDECARS = 20.0
"""Seconds within which a proxy has heard of a change."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A namespace with one sidecar, on one of the two."""

    scene: Scene
    others: Scene
    """Another namespace of the same mesh."""

    def proxy(self) -> ProxySnapshot:
        """What the sidecar says about the host."""
        [said] = read_snapshots(self.scene.cluster, self.scene.pods("caller"), [HOST, SENTINEL]).values()
        assert isinstance(said, ProxySnapshot), said
        return said

    def when(self, holds: Callable[[ProxySnapshot], bool], what: str) -> ProxySnapshot:
        """What the sidecar says once it is so."""

        def ask() -> ProxySnapshot | None:
            said = self.proxy()
            return said if holds(said) else None

        found = until(ask, what, SIDECARS)
        assert found is not None, "until returns what counts as true"
        return found


@pytest.fixture(scope="module", params=["embedded", "real"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    lab: Lab = request.getfixturevalue("embedded" if request.param == "embedded" else "cluster")
    with scene_of(lab) as scene, scene_of(lab) as others:
        scene.deploy("caller", command=["sleep", "3600"], annotations={"sidecar.istio.io/nativeSidecar": "false"})
        yield Stage(scene, others)


@pytest.fixture
def objects(stage: Stage) -> Iterator[Callable[..., Body]]:
    """Creates objects that are gone after the test, the sidecar's knowledge of them too."""
    made: list[tuple[Scene, Body]] = []

    def create(body: Body, scene: Scene = stage.scene) -> Body:
        version = scene.cluster.resource_of(body["kind"]).api_version
        metadata = {**body["metadata"], "namespace": scene.namespace}
        made.append((scene, scene.create({**body, "apiVersion": version, "metadata": metadata})))
        return made[-1][1]

    yield create
    for scene, body in reversed(made):
        scene.delete(body["kind"], body["metadata"]["name"])
    stage.when(lambda said: not named(said), "the host's clusters are gone")


def named(said: ProxySnapshot) -> Mapping[str, Upstream]:
    """The host's clusters, by name."""
    return {one.name: one for one in said.upstreams if one.name.endswith(f"|{HOST.name}")}


def rule(name: str, tls: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A DestinationRule of somebody's."""
    policy = {"trafficPolicy": {"tls": dict(tls)}} if tls else {}
    return {
        "kind": "DestinationRule",
        "metadata": {"name": name},
        "spec": {"host": HOST.name, "exportTo": ["."], **policy, **spec},
    }


def ours(namespace: str) -> tuple[Body, Body, Body]:
    """What the tool writes, in its order."""
    return (
        destination_rule(HOST, namespace),
        service_entry(HOST, namespace, alias=ALIAS),
        virtual_service(HOST, namespace),
    )


def routed(said: ProxySnapshot) -> VirtualHost | None:
    """The virtual host that takes `http://HOST`."""
    return route_of(HOST, said)


def test_nothing_configured(stage: Stage) -> None:
    said = stage.proxy()
    assert named(said) == {}
    assert "PassthroughCluster" in {one.name for one in said.upstreams}


def test_an_entry_alone_goes_in_clear_to_port_443(stage: Stage, objects: Callable[..., Body]) -> None:
    objects(service_entry(HOST, stage.scene.namespace, alias=ALIAS))
    said = stage.when(lambda said: len(named(said)) == 2 and routed(said) is not None, "two clusters and a route")
    clusters = named(said)
    assert clusters.keys() == {PLAIN, SECURE}
    assert clusters[PLAIN].tls is None
    assert clusters[PLAIN].configured_addresses == (f"{HOST.name}.:443",)
    assert clusters[SECURE].configured_addresses == (f"{HOST.name}.:443",)
    assert clusters[PLAIN].config_source == ""
    taken = routed(said)
    assert taken is not None
    assert taken.clusters == (PLAIN,)


def test_the_three_objects_together(stage: Stage, objects: Callable[..., Body]) -> None:
    made = [objects(body) for body in ours(stage.scene.namespace)]

    def complete(said: ProxySnapshot) -> bool:
        taken = routed(said)
        # A cluster that warms (its CA is on the way) is not listed yet, while the route to it is.
        return taken is not None and taken.clusters == (SUBSET_CLUSTER,) and len(named(said)) == 4

    said = stage.when(complete, "the route to the subset, and the clusters")
    clusters = named(said)
    assert clusters.keys() == {PLAIN, SECURE, SUBSET_CLUSTER, f"outbound|443|{SUBSET}|{HOST.name}"}
    for name in (PLAIN, SUBSET_CLUSTER):
        tls = clusters[name].tls
        assert tls is not None
        assert (tls.sni, tls.subject_alt_names, tls.ca) == (HOST.name, (HOST.name,), "file-root:system")
    assert clusters[SECURE].tls is None
    names = {body["kind"]: body["metadata"]["name"] for body in made}
    place = f"/namespaces/{stage.scene.namespace}"
    [source] = {one.config_source for one in clusters.values()}
    assert source.startswith("/apis/networking.istio.io/v1")  # v1alpha3 on older ones
    assert source.endswith(f"{place}/destination-rule/{names['DestinationRule']}")
    taken = routed(said)
    assert taken is not None
    assert taken.config_source.endswith(f"{place}/virtual-service/{names['VirtualService']}")
    assert HOST.name in taken.domains
    endpoints = stage.when(lambda said: bool(named(said)[SUBSET_CLUSTER].endpoints), "an address")
    assert [(one.port, one.hostname) for one in named(endpoints)[SUBSET_CLUSTER].endpoints] == [(443, f"{HOST.name}.")]


@pytest.mark.parametrize(
    ("made", "upstream"),
    [(before_entry, PLAIN), (passing, SUBSET_CLUSTER), (None, SUBSET_CLUSTER)],
    ids=["before it", "beside its route", "not at all"],
)
def test_a_route_that_takes_tls_connections_past_the_entry(
    stage: Stage, objects: Callable[..., Body], made: Callable[[Body, Body, Host], Body] | None, upstream: str
) -> None:
    rule, entry, route = ours(stage.scene.namespace)
    objects(rule)
    objects(made(route, entry, HOST) if made else route)
    objects(entry)
    wanted = (upstream,)
    stage.when(lambda said: (found := routed(said)) is not None and found.clusters == wanted, f"the route is {wanted}")
    stage.when(lambda said: {PLAIN, SECURE, SUBSET_CLUSTER} <= named(said).keys(), "the clusters are there")
    [pod] = stage.scene.pods("caller")
    ref = stage.scene.ref("Pod", pod["metadata"]["name"])

    def so() -> bool:
        page = read_page(stage.scene.cluster, ref, listeners.path(443))
        assert isinstance(page, str), page
        # The listener is there in either case; it comes after the clusters, and may still be of the test before.
        return HOST.name in page and listeners.takes(page, HOST) is (made is None)

    until(so, f"the listener {'takes' if made is None else 'does not take'} the host's connections", SIDECARS)


def test_an_older_rule_without_tls_does_not_reach_the_subset(stage: Stage, objects: Callable[..., Body]) -> None:
    objects(rule("a-older", {"mode": "DISABLE"}))
    for body in ours(stage.scene.namespace):
        objects(body)
    said = stage.when(lambda said: SUBSET_CLUSTER in named(said), "the subset's cluster")
    assert named(said)[PLAIN].tls is None
    tls = named(said)[SUBSET_CLUSTER].tls
    assert tls is not None
    assert tls.ca == "file-root:system"
    assert named(said)[SUBSET_CLUSTER].config_source.endswith("/destination-rule/a-older")


def test_a_rule_of_another_namespace_that_is_exported_to_all(stage: Stage, objects: Callable[..., Body]) -> None:
    objects(rule("theirs", {"mode": "DISABLE"}, exportTo=["*"]), stage.others)
    for body in ours(stage.scene.namespace):
        objects(body)
    said = stage.when(lambda said: SUBSET_CLUSTER in named(said), "the subset's cluster")
    tls = named(said)[PLAIN].tls
    assert tls is not None, "the client's own namespace wins"
    assert tls.sni == HOST.name


def test_an_entry_of_another_namespace_that_is_kept_to_itself(stage: Stage, objects: Callable[..., Body]) -> None:
    objects(service_entry(HOST, stage.others.namespace, alias=ALIAS), stage.others)
    objects(rule("ours", TLS))
    objects(service_entry(SENTINEL, stage.scene.namespace))
    sentinel = f"outbound|80||{SENTINEL.name}"
    said = stage.when(lambda said: sentinel in {one.name for one in said.upstreams}, "the other host's cluster")
    assert named(said) == {}


def test_a_sidecar_that_hides_the_host(stage: Stage, objects: Callable[..., Body]) -> None:
    for body in ours(stage.scene.namespace):
        objects(body)
    stage.when(lambda said: SUBSET_CLUSTER in named(said), "the subset's cluster")
    objects({"kind": "Sidecar", "metadata": {"name": "narrow"}, "spec": {"egress": [{"hosts": ["istio-system/*"]}]}})
    stage.when(lambda said: not named(said), "the host is hidden")


def test_a_virtual_service_without_our_rule_leads_nowhere(stage: Stage, objects: Callable[..., Body]) -> None:
    _, entry, route = ours(stage.scene.namespace)
    objects(entry)
    objects(route)

    def complete(said: ProxySnapshot) -> bool:
        taken = routed(said)
        return taken is not None and taken.clusters == (SUBSET_CLUSTER,)

    said = stage.when(complete, "the route to the subset")
    assert SUBSET_CLUSTER not in named(said)
