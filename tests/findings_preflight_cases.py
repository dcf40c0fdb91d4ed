"""More surveys for the catalogue: what proxies, pods and rollouts say of themselves, and what clients ask of a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kubectl_egress import mesh
from kubectl_egress.model import (
    Body,
    CallSite,
    Endpoint,
    Guard,
    Host,
    LoggedConnection,
    MeshSettings,
    ProxySnapshot,
    ProxyUnread,
    Ref,
    RequestSeries,
    Survey,
    Upstream,
    Url,
    VirtualHost,
)
from tests import findings_cases
from tests.build import NAMESPACE, config_map, container, deployment, document, pod
from tests.build_mesh import HOST, entry, survey_of
from tests.findings_cases import SHOP, URL, Case, case, held, namespaces, scripted, shop

API = "/apis/networking.istio.io/v1/namespaces"
POD = Ref("Pod", NAMESPACE, "shop-1", "v1")


def live(*bodies: Body, pods: list[Body] | None = None, **snapshot: Any) -> dict[str, Any]:
    """Live parts of a survey: a pod and what its sidecar says."""
    fields: dict[str, Any] = {"upstreams": (), "virtual_hosts": (), "requests": (), "durations": (), "tcp": ()}
    said = ProxySnapshot(POD, 0.0, **{**fields, **snapshot})
    return {"pods": {"shop": pods or [pod("shop-1")]}, "proxies": {POD: said}, "live": True}


def unread(**why: Any) -> dict[str, Any]:
    """A pod whose sidecar does not answer."""
    return live() | {"proxies": {POD: ProxyUnread(POD, "port-forward: it did not answer in time", **why)}}


_LOGGED = LoggedConnection("PassthroughCluster", "203.0.113.9", 443, "other.example.com")


def _passed(address: str, port: int = 443) -> Upstream:
    """PassthroughCluster with an address."""
    return Upstream("PassthroughCluster", None, endpoints=(Endpoint(address, port, connections=2),))


def _used(host: str, connections: int = 2) -> Upstream:
    """A cluster of a host with connections."""
    return Upstream(f"outbound|443||{host}", None, endpoints=(Endpoint("203.0.113.9", 443, connections=connections),))


def states(**proxy: Any) -> Body:
    """A pod with the status of its sidecar."""
    body = pod("shop-1")
    return {**body, "status": {**body["status"], "containerStatuses": [{"name": "istio-proxy", **proxy}]}}


def with_init(*arguments: str) -> Body:
    """A pod as the classic injector leaves it, with the arguments of istio-init."""
    body = pod("shop-1")
    return {**body, "spec": {**body["spec"], "initContainers": [container("istio-init", args=list(arguments))]}}


def knative(**template: Any) -> Body:
    """A Knative Service that calls the host."""
    return {**shop(**template), "apiVersion": "serving.knative.dev/v1", "kind": "Service"}


def rolling(**status: Any) -> Body:
    """A Deployment with a status."""
    body = shop()
    body["metadata"]["generation"] = 2
    return {
        **body,
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1} | status,
    }


def served(code: str) -> dict[str, Any]:
    """A proxy that has seen answers of the host to plain HTTP."""
    return live(requests=(RequestSeries("httpbin.org", "PassthroughCluster", code, "-", 3),))


def in_effect(kind: str, name: str, subset: str = "") -> dict[str, Any]:
    """A proxy that says which object is in effect for port 80 of the host."""
    source = f"{API}/elsewhere/{kind}/{name}"
    if kind == "virtual-service":
        return live(virtual_hosts=(VirtualHost("80", ("httpbin.org",), ("outbound|80||x.example.com",), source),))
    return live(upstreams=(Upstream(f"outbound|80|{subset}|httpbin.org", None, source),))


def secret(name: str, *more: Body) -> Case:
    """A URL in a Secret that one Deployment reads, or several."""
    reads = {"env": [{"name": "API", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}

    def make() -> tuple[Survey, tuple[CallSite, ...]]:
        survey, _ = survey_of(shop(**reads), *more)
        url = Url(0, len(URL), URL, "https", HOST)
        return survey, (CallSite(SHOP, Ref("Secret", NAMESPACE, "s", "v1"), ("data", "k"), url, "shop"),)

    return Case(name, make, (HOST,))


_RULE = document(mesh.destination_rule(HOST, NAMESPACE))
_MOUNTED = [{"name": "v", "secret": {"secretName": "s"}}]
_INJECTED: dict[str, Any] = {"live": True, "namespaces": namespaces()}

_TRIGGERS: dict[str, list[Case]] = {
    "live-only": [
        case("server name", **live(logged=(_LOGGED,))),
        case("server name, blocked", **live(logged=(replace(_LOGGED, cluster="BlackHoleCluster"),))),
        case("authority", **live(requests=(RequestSeries("other.example.com", "PassthroughCluster", "200", "-", 3),))),
        case(
            "cluster",
            objects=[entry("other", hosts=["other.example.com"])],
            **live(upstreams=(_used("other.example.com"),)),
        ),
        case(
            "address", resolved={"httpbin.org": frozenset({"203.0.113.1"})}, **live(upstreams=(_passed("203.0.113.9"),))
        ),
        case("another port", **live(upstreams=(_passed("203.0.113.9", 8443),))),
    ],
    "no-permission": [case("settings unknown", live=True, settings=MeshSettings())],
    "sidecar-unread": [
        case("asked about all", **unread()),
        case("of a caller", hosts=(HOST,), **unread()),
        case("of who calls nobody", shop(env={}), **unread()),
    ],
    "no-sidecar": [
        case("not ready", **live(pods=[states(ready=False)])),
        case(
            "policy",
            live=True,
            namespaces=namespaces(istio_injection="enabled"),
            settings=MeshSettings(injection_disabled=True),
        ),
    ],
    "not-intercepted": [case("mesh-wide", settings=MeshSettings(interception_mode="NONE"))],
    "port-not-captured": [
        case("istio-init", **live(pods=[with_init("-p", "15001", "-o", "80,9090", "-i", "*")])),
        case("istio-init, ranges", **live(pods=[with_init("-i", "10.0.0.0/8", "-q", "")])),
        case(
            "annotation of the pod",
            **live(
                pods=[
                    {
                        **pod("shop-1"),
                        "metadata": {
                            "name": "shop-1",
                            "annotations": {"traffic.sidecar.istio.io/excludeOutboundPorts": "443"},
                        },
                    }
                ]
            ),
        ),
    ],
    "rule-shadowed": [case("by the proxy", objects=[_RULE], **in_effect("destination-rule", "other"))],
    "entry-conflict": [case("by the proxy", **live(upstreams=(Upstream("outbound|8443||httpbin.org", None),)))],
    "route-conflict": [case("by the proxy", **in_effect("virtual-service", "other"))],
    "own-proxy": [
        case("exported", scripted(f"export https_proxy=http://p:1\ncurl {URL}")),
        case("for one command", scripted(f"HTTPS_PROXY=http://p:1 curl {URL}")),
        case(
            "script in a ConfigMap",
            shop(
                env={},
                containers=[container("shop", volumeMounts=[{"name": "v", "mountPath": "/run.d"}])],
                volumes=[{"name": "v", "configMap": {"name": "c"}}],
            ),
            maps=[config_map("c", {"run.sh": f"export ALL_PROXY='socks5://p:1'\ncurl {URL}\n"})],
        ),
    ],
    "own-trust": [
        case("exported", scripted(f"export CURL_CA_BUNDLE=/ca.pem; curl {URL}")),
        case("pinned", scripted(f"curl --pinnedpubkey sha256//x {URL}")),
    ],
    "fails-open": [
        case("--resolve", scripted(f"curl --resolve httpbin.org:443:10.0.0.1 {URL}")),
        case("--doh-url", scripted(f"curl --doh-url https://dns.example.com/ {URL}"), hosts=(HOST,)),
    ],
    "guard-cuts": [
        case("a URL", shop(env={"API": URL, "OTHER": "http://other.example.com/"}), hosts=(HOST,), guard=Guard()),
        case("seen", guard=Guard(), **live(upstreams=[_passed("93.184.215.14", 80)])),
        case("seen inside, and nobody's", guard=Guard(("10.96.0.0/12",)), **live(upstreams=[_passed("10.1.2.3", 80)])),
    ],
    "not-rolled": [
        case("failed", rolling(conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]), live=True),
        case("under way", rolling(replicas=2), live=True),
        case("Job runs", held("CronJob"), live=True, pods={"shop": [pod("shop-1")]}),
    ],
    "https-redirect": [
        case("seen", **served("301")),
        case("--proto", scripted(f"curl --proto '=https' {URL}")),
        case("--hsts", scripted(f"curl --hsts f {URL}")),
    ],
    "alias-refused": [case("Knative", knative())],
    "needs-http2": [
        case("curl", scripted(f"curl --http2 {URL}")),
        case("grpcurl", shop(env={"API": URL}, command=["grpcurl", "httpbin.org:443", "list"])),
        case("target", shop(env={"API": URL, "GRPC": "dns:///httpbin.org:443"})),
    ],
    "old-protocol": [
        case("-0", scripted(f"curl -s0 {URL}")),
        case("tls-max", scripted(f"curl --tls-max 1.1 {URL}")),
        case("ab", shop(env={}, command=["ab", "-n", "10", URL])),
        case("JVM", shop(env={"API": URL, "JAVA_OPTS": "-Dhttps.protocols=TLSv1,TLSv1.1"})),
    ],
    "shared-source": [secret("mounted elsewhere", deployment("other", volumes=_MOUNTED))],
}

_SILENT: dict[str, list[Case]] = {
    "live-only": [
        case("the host that is called", **live(logged=(replace(_LOGGED, server_name="httpbin.org"),))),
        case(
            "its address",
            resolved={"httpbin.org": frozenset({"203.0.113.9"})},
            **live(upstreams=(_passed("203.0.113.9"),)),
        ),
        case("an address that may be its", **live(upstreams=(_passed("203.0.113.9"),))),
        case("an address inside", **live(upstreams=(_passed("10.96.0.1", 6443),))),
        case("a Service", **live(upstreams=(_used("a.other.svc.cluster.local"),))),
        case(
            "an entry that is not used",
            objects=[entry("o", hosts=["o.example.com"])],
            **live(upstreams=(_used("o.example.com", 0),)),
        ),
        case("a migration of another host", hosts=(HOST,), **live(logged=(_LOGGED,))),
    ],
    "no-permission": [case("files know no settings", settings=MeshSettings())],
    "sidecar-unread": [
        case("read", **live()),
        case("not permitted, which is no-permission", **unread(forbidden=True)),
        case("of a workload that does not call the host", hosts=(Host("other.example.com", 443),), **unread()),
    ],
    "no-sidecar": [
        case("sidecar ready", **live(pods=[states(ready=True)])),
        case("by default", settings=MeshSettings(inject_everywhere=True), **_INJECTED),
    ],
    "not-intercepted": [
        case(
            "template wins over mesh",
            shop(annotations={"sidecar.istio.io/interceptionMode": "REDIRECT"}),
            settings=MeshSettings(interception_mode="NONE"),
        )
    ],
    "port-not-captured": [case("istio-init", **live(pods=[with_init("-i", "*", "-x", "", "-o", "15090", "-q", "")]))],
    "rule-shadowed": [
        case("none of ours yet", **in_effect("destination-rule", "other")),
        case("by the proxy, ours", objects=[_RULE], **live(upstreams=(Upstream("outbound|80||httpbin.org", None),))),
    ],
    "entry-conflict": [case("by the proxy", **live(upstreams=(Upstream("outbound|443||httpbin.org", None),)))],
    "route-conflict": [
        case("catch-all", **live(virtual_hosts=(VirtualHost("80", ("*",), ("PassthroughCluster",)),))),
        case("no object", **live(virtual_hosts=(VirtualHost("80", ("httpbin.org",), ("outbound|80||httpbin.org",)),))),
    ],
    "own-proxy": [
        case("excluded in the script", scripted(f"export https_proxy=p:1 no_proxy=httpbin.org\ncurl {URL}")),
        case("an argument", scripted(f"curl -d http_proxy=1 {URL}")),
    ],
    "fails-open": [
        case("another host", scripted(f"curl {URL}; curl --resolve a:1:b https://a.example.com"), hosts=(HOST,))
    ],
    "guard-cuts": [
        case("no guard", shop(env={"API": URL, "OTHER": "http://other.example.com/"}), hosts=(HOST,)),
        case("inside", shop(env={"API": URL, "OTHER": "http://other.shop.svc/"}), guard=Guard()),
        case("itself", shop(env={"API": URL, "OTHER": "http://httpbin.org/"}), guard=Guard()),
        case("443, and a pod", guard=Guard(), **live(upstreams=[_passed("93.184.215.14"), _passed("10.244.0.10", 80)])),
        case("a network of ours", guard=Guard(("10.0.0.0/8",)), **live(upstreams=[_passed("10.1.2.3", 80)])),
    ],
    "not-rolled": [case("rolled out", rolling(), live=True), case("no Job runs", held("CronJob"), live=True)],
    "https-redirect": [
        case("200", **served("200")),
        case("--proto with http", scripted(f"curl --proto '=https,http' --proto-redir =https {URL}")),
    ],
    "alias-refused": [
        case("a Deployment"),
        case("aliased already", knative(hostAliases=[{"ip": "10.1.2.3", "hostnames": ["x.example.com"]}])),
        case("without alias", knative(), fail_open=True),
    ],
    "needs-http2": [
        case("curl", scripted(f"curl --http1.1 {URL}")),
        case("another host", shop(env={"API": URL, "GRPC": "dns:///httpbin.org.evil.com:443"})),
    ],
    "old-protocol": [
        case("at least", scripted(f"curl --tlsv1.2 --tls-max 1.3 {URL}")),
        case("JVM", shop(env={"API": URL, "JAVA_OPTS": "-Dhttps.protocols=TLSv1.2"})),
    ],
    "shared-source": [secret("not read", deployment("other")), secret("alone")],
}

TRIGGERS = {
    code: [*findings_cases.TRIGGERS.get(code, ()), *_TRIGGERS.get(code, ())]
    for code in dict.fromkeys([*findings_cases.TRIGGERS, *_TRIGGERS])
}
SILENT = {
    code: [*findings_cases.SILENT.get(code, ()), *_SILENT.get(code, ())]
    for code in dict.fromkeys([*findings_cases.SILENT, *_SILENT])
}
