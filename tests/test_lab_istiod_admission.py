from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.istiod.shapes import SHAPES
from kubectl_egress.lab.parts import LabRefusal, SchemaRefusal
from tests.lab_istiod import (
    HOST,
    SECURE,
    WEB,
    curl_pod,
    entry,
    mesh_object,
    migration,
    origination,
    rule,
    sidecar,
    virtual_service,
)

TCP = {"number": 5432, "name": "tcp", "protocol": "TCP"}
TO_HOST = [{"destination": {"host": HOST}}]

ADMITTED: list[tuple[str, dict[str, Any]]] = [
    ("no mesh object", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"anything": 1}}),
    ("the rule", rule()),
    ("the entry", entry(endpoints=[{"address": f"{HOST}."}], exportTo=["."], addresses=["192.0.2.1", "100::1"])),
    ("the route", virtual_service(exportTo=["."])),
    ("the article's entry", entry(ports=[{k: v for k, v in WEB.items() if k != "targetPort"}, SECURE])),
    (
        "the article's rule",
        rule(trafficPolicy={"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}]}),
    ),
    ("a rule for all", rule(host="*")),
    ("a rule for a wildcard", rule(host="*.org", trafficPolicy={"tls": {"mode": "DISABLE"}}, subsets=[])),
    ("a rule without a policy", mesh_object("DestinationRule", "r", {"host": HOST})),
    ("a wildcard as it comes", entry(hosts=["*.httpbin.org"], resolution="NONE")),
    ("a database", entry(ports=[TCP], addresses=["192.0.2.9"])),
    ("its own endpoint ports", entry(endpoints=[{"address": "10.0.0.1", "ports": {"http": 8443}}])),
    ("the old API version", rule() | {"apiVersion": "networking.istio.io/v1beta1"}),
    ("a Sidecar", sidecar("./*", "istio-system/*", f"*/{HOST}", "~/*")),
    ("a Sidecar that blocks", sidecar("*/*", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})),
    ("a short name's route", virtual_service(http=[{"route": TO_HOST, "rewrite": {"authority": HOST}}])),
]


@pytest.mark.parametrize("body", [row[1] for row in ADMITTED], ids=[row[0] for row in ADMITTED])
def test_admitted(body: dict[str, Any]) -> None:
    EmbeddedIstiod().admit(body)


def tls(**fields: Any) -> dict[str, Any]:
    return {"portLevelSettings": [{"port": {"number": 80}, "tls": fields}]}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # kinds
    ("another kind", mesh_object("Gateway", "g", {}), "does not model Gateway"),
    ("another group", {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry"}, "does not model Telemetry"),
    # shapes
    ("a foreign field", entry(workloadSelector={}), "spec.workloadSelector"),
    ("a foreign field inside", entry(endpoints=[{"address": "a.b", "labels": {}}]), "spec.endpoints[0].labels"),
    ("text for a number", entry(ports=[WEB | {"number": "80"}]), "spec.ports[0].number in body must be of type integer"),
    ("a bool for a number", entry(ports=[WEB | {"number": True}]), "spec.ports[0].number in body must be of type integer"),
    ("an object for a list", entry(hosts={}), "spec.hosts in body must be of type array"),
    ("a list for an object", rule(trafficPolicy=[]), "spec.trafficPolicy in body must be of type object"),
    ("a null port", entry(ports=[None]), "spec.ports[0] in body must be of type object"),
    # ServiceEntry
    ("no hosts", entry(hosts=[]), "should have at least 1 items"),
    ("all hosts", entry(hosts=["*"]), "hostname cannot be wildcard"),
    ("an address for a host", entry(hosts=["10.0.0.1"]), "invalid host"),
    ("a host with a scheme", entry(hosts=["https://httpbin.org"]), "invalid host"),
    ("a short host", entry(hosts=["foo"]), "short names"),
    ("a host of the cluster", entry(hosts=["a.b.svc.cluster.local"]), "hosts of the cluster"),
    ("port 0", entry(ports=[WEB | {"number": 0}]), "port must be between 1-65535"),
    ("a target port out of range", entry(ports=[WEB | {"targetPort": 70000}]), "port must be between 1-65535"),
    ("a port without a name", entry(ports=[{"number": 80, "protocol": "HTTP"}]), "spec.ports[0].name: Required value"),
    ("a port number twice", entry(ports=[WEB, WEB | {"name": "b"}]), "port number cannot be duplicated"),
    ("a port name twice", entry(ports=[WEB, WEB | {"number": 81}]), "spec.ports[1]: Duplicate value"),
    ("no such protocol", entry(ports=[WEB | {"protocol": "HTTPX"}]), "unsupported protocol"),
    ("a protocol not modelled", entry(ports=[WEB | {"protocol": "MONGO"}]), "does not model the protocol"),
    ("NONE with endpoints", entry(resolution="NONE", endpoints=[{"address": "10.0.0.1"}]), "NONE mode cannot set endpoints"),
    ("a wildcard by DNS", entry(hosts=["*.httpbin.org"]), "hosts must be FQDN"),
    ("two endpoints, one name", entry(resolution="DNS_ROUND_ROBIN", endpoints=[{"address": "a.b"}] * 2), "0 or 1 endpoint"),
    ("a name where addresses are asked", entry(resolution="STATIC", endpoints=[{"address": "a.b"}]), "not an IP address"),
    ("an endpoint that is no name", entry(endpoints=[{"address": "a b"}]), "not a valid FQDN"),
    ("an endpoint without address", entry(endpoints=[{}]), "not a valid FQDN"),
    ("a foreign endpoint port", entry(endpoints=[{"address": "a.b", "ports": {"x": 1}}]), "not defined by the service entry"),
    ("a resolution not modelled", entry(resolution="DYNAMIC_DNS"), "does not model the resolution"),
    ("inside the mesh", entry(location="MESH_INTERNAL"), "does not model the location"),
    ("a network of addresses", entry(addresses=["192.0.2.0/24"]), "CIDR"),
    ("no address", entry(addresses=["x"]), "invalid address"),
    ("TCP for everybody", entry(ports=[TCP]), "TCP ports without addresses"),
    ("TCP for two hosts", entry(hosts=["a.b", "c.d"], ports=[TCP], addresses=["192.0.2.9"]), "multiple hosts"),
    ("exported to all and one", entry(exportTo=["*", "other"]), "cannot be used with other"),
    ("exported twice", entry(exportTo=[".", "."]), "duplicate entries"),
    ("exported to nobody", entry(exportTo=["~"]), "exportTo ~"),
    # DestinationRule
    ("no host", mesh_object("DestinationRule", "r", {}), "spec.host: Required value"),
    ("an empty policy", rule(trafficPolicy={}), "at least one field"),
    ("a subset without a name", rule(subsets=[{"trafficPolicy": origination()}]), "spec.subsets[0].name: Required value"),
    ("a bad subset name", rule(subsets=[{"name": "a b"}]), "invalid subset name"),
    ("a subset twice", rule(subsets=[{"name": "a"}, {"name": "a"}]), "two subsets of one name"),
    ("a subset by labels", rule(subsets=[{"name": "a", "labels": {"v": "1"}}]), "spec.subsets[0].labels"),
    ("a client certificate", rule(trafficPolicy=tls(mode="MUTUAL")), "TLS mode MUTUAL"),
    ("the mesh's certificate", rule(trafficPolicy=tls(mode="ISTIO_MUTUAL")), "TLS mode ISTIO_MUTUAL"),
    ("no such mode", rule(trafficPolicy=tls(mode="NONE")), "spec.trafficPolicy.portLevelSettings[0].tls.mode: Unsupported value"),
    ("a secret", rule(trafficPolicy=tls(mode="SIMPLE", credentialName="c")), "credentialName"),
    ("a CA file", rule(trafficPolicy=tls(mode="SIMPLE", caCertificates="/ca.pem")), "caCertificates other than system"),
    ("both blind and checking", rule(trafficPolicy=tls(mode="SIMPLE", insecureSkipVerify=True, subjectAltNames=["a"])), "insecureSkipVerify"),
    ("settings for no port", rule(trafficPolicy={"portLevelSettings": [{}]}), "must have a port"),
    ("a workload selector", rule(workloadSelector={"matchLabels": {}}), "spec.workloadSelector"),
    ("outlier detection", rule(trafficPolicy={"outlierDetection": {}}), "outlierDetection"),
    # VirtualService
    ("a route for nobody", virtual_service(hosts=[]), "at least one host"),
    ("a route without routes", virtual_service(http=[]), "http, tcp or tls must be provided"),
    ("a route to nowhere", virtual_service(http=[{}]), "must have a route"),
    ("a route by TCP", virtual_service(tcp=[]), "spec.tcp"),
    ("TLS without a name", virtual_service(tls=[{"match": [], "route": TO_HOST}]), "at least one SNI host"),
    ("TLS to nowhere", virtual_service(tls=[{"match": [{"sniHosts": ["httpbin.org"]}]}]), "must have a route"),
    ("TLS of another name", virtual_service(tls=[{"match": [{"sniHosts": ["a.b"]}], "route": TO_HOST}]), "SNI host 'a.b'"),
    (
        "TLS to no network",
        virtual_service(
            tls=[{"match": [{"sniHosts": ["httpbin.org"], "destinationSubnets": ["x"]}], "route": TO_HOST}]
        ),
        "not a valid CIDR",
    ),
    ("a gateway", virtual_service(gateways=["egress"]), "gateways other than mesh"),
    ("two destinations", virtual_service(http=[{"route": TO_HOST * 2}]), "several destinations"),
    ("a weight", virtual_service(http=[{"route": [{**TO_HOST[0], "weight": 20}]}]), "the weight"),
    ("a regex", virtual_service(http=[{"match": [{"uri": {"regex": ".*"}}], "route": TO_HOST}]), "uri.regex"),
    ("a header match", virtual_service(http=[{"match": [{"headers": {}}], "route": TO_HOST}]), "match[0].headers"),
    ("an empty rewrite", virtual_service(http=[{"route": TO_HOST, "rewrite": {}}]), "rewrite must specify"),
    ("negative retries", virtual_service(http=[{"route": TO_HOST, "retries": {"attempts": -1}}]), "cannot be negative"),
    ("a bad header", virtual_service(http=[{"route": TO_HOST, "headers": {"request": {"remove": ["a b"]}}}]), "not a valid header"),
    ("Host as a header", virtual_service(http=[{"route": TO_HOST, "headers": {"request": {"set": {"Host": "a"}}}}]), "rewrite.authority"),
    ("a short destination", virtual_service(http=[{"route": [{"destination": {"host": "foo"}}]}]), "short names"),
    ("a redirect", virtual_service(http=[{"redirect": {}}]), "http[0].redirect"),
    # Sidecar
    ("a Sidecar's own listener", sidecar("./*", ingress=[]), "spec.ingress"),
    ("an egress port", mesh_object("Sidecar", "s", {"egress": [{"hosts": ["./*"], "port": {}}]}), "egress[0].port"),
    ("an empty egress", sidecar(), "at least one host"),
    ("a host without namespace", sidecar(HOST), "namespace/dnsName"),
    ("an excluded host", sidecar(f"*/~{HOST}"), "invalid host"),
    ("a mode not modelled", sidecar("*/*", outboundTrafficPolicy={"mode": "ALLOW_ANY_DYNAMIC_DNS"}), "spec.outboundTrafficPolicy.mode: Unsupported value"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(body: dict[str, Any], said: str) -> None:
    with pytest.raises(LabRefusal) as refusal:
        EmbeddedIstiod().admit(body)
    assert said in str(refusal.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(LabRefusal) as refusal:
        EmbeddedIstiod().admit(entry(hosts=["foo"], exportTo=["~"], ports=[WEB | {"protocol": "MONGO"}]))
    assert str(refusal.value).count(";") == 2
    with pytest.raises(SchemaRefusal) as refused:
        EmbeddedIstiod().admit(entry(hosts=[], ports=[WEB | {"number": 0}]))
    assert [cause.field for cause in refused.value.causes] == ["spec.hosts", "spec.ports[0].number"]


leaves = st.none() | st.booleans() | st.integers(-1, 70000) | st.sampled_from(["", "*", ".", HOST, "a", "DNS", "HTTP"])


def like(shape: Any) -> st.SearchStrategy[Any]:
    """Values that are nearly of the shape."""
    if isinstance(shape, type):
        return leaves
    if isinstance(shape, list):
        return st.lists(like(shape[0]), max_size=2) | leaves
    fields = {key: like(inner) for key, inner in shape.items()}
    return st.fixed_dictionaries({}, optional=fields) | leaves


@given(st.sampled_from(sorted(SHAPES)).flatmap(lambda kind: st.tuples(st.just(kind), like(SHAPES[kind]))))
def test_whatever_is_asked_it_is_admitted_or_refused_and_what_is_admitted_can_be_configured(
    case: tuple[str, Any],
) -> None:
    kind, spec = case
    body = mesh_object(kind, "x", {}) | {"spec": spec}
    istiod = EmbeddedIstiod()
    try:
        istiod.admit(body)
    except LabRefusal:
        return
    istiod.configuration(curl_pod(), [body, *migration()])
