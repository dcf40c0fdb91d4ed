"""For every code: surveys in which it is found, and some that look like it and in which it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_egress import mesh
from kubectl_egress.journal import CallerRecord, Journal, to_config_map
from kubectl_egress.model import (
    Body,
    CallSite,
    Denied,
    Document,
    Host,
    MeshSettings,
    ProxySnapshot,
    ProxyUnread,
    Ref,
    Survey,
    Upstream,
)
from tests.build import NAMESPACE, config_map, container, deployment, document, pod, pod_template, workload
from tests.build_mesh import HOST, entry, port, route, rule, sidecar, survey_of, tls_on_80

URL = "https://httpbin.org/status/200"
ADMIN = Host("httpbin.org", 8443)
SHOP = Ref("Deployment", NAMESPACE, "shop", "apps/v1")
ALIAS = mesh.alias_address(HOST)


@dataclass(frozen=True)
class Case:
    """One survey, and how it is looked at."""

    name: str
    make: Callable[[], tuple[Survey, tuple[CallSite, ...]]]
    hosts: tuple[Host, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def shop(**template: Any) -> dict[str, Any]:
    """A Deployment that calls the host from an environment variable."""
    return deployment("shop", **{"env": {"API": URL}, **template})


def annotated(**annotations: str) -> dict[str, Any]:
    """The same with annotations below traffic.sidecar.istio.io/."""
    return shop(annotations={f"traffic.sidecar.istio.io/{key}": value for key, value in annotations.items()})


def scripted(script: str, labels: Mapping[str, str] | None = None, **env: str) -> dict[str, Any]:
    """The same with a shell script in place of the variable."""
    return shop(command=["sh", "-c", script], env=env, labels=labels)


def owned(labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None, **more: Any) -> Body:
    """The same with metadata that says who applies it."""
    body = shop()
    body["metadata"].update({"labels": dict(labels or {}), "annotations": dict(annotations or {}), **more})
    return body


BY_KEY = [{"name": "API", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "url"}}}]
POD = Ref("Pod", NAMESPACE, "shop-1")


def case(name: str, *bodies: Body, hosts: tuple[Host, ...] | None = None, **survey: Any) -> Case:
    """A case of workloads; `fail_open` is the check's, the rest the survey's."""
    options: dict[str, Any] = {
        key: survey.pop(key) for key in ("fail_open", "migrating", "origination", "guard") if key in survey
    }
    return Case(name, lambda: survey_of(*(bodies or (shop(),)), **survey), hosts, options)


def with_objects(name: str, *objects: Document, **more: Any) -> Case:
    """A case of mesh objects beside the one caller."""
    return case(name, objects=objects, **more)


def bare(name: str = "shop-1", **more: Any) -> Body:
    """A pod without a sidecar."""
    return {**pod(name), "spec": pod_template("shop")["spec"], **more}


def native() -> Body:
    """A pod with a native sidecar, after one init container and before another."""
    body = bare()
    spec = dict(body["spec"])
    spec["initContainers"] = [
        container("early"),
        container("istio-proxy", restartPolicy="Always"),
        container("late"),
    ]
    return {**body, "spec": spec}


def with_init(name: str, **template: Any) -> dict[str, Any]:
    """A Deployment whose init container calls the host."""
    return shop(env={}, initContainers=[container(name, args=["curl", URL])], **template)


def namespaces(**labels: str) -> dict[str, Body]:
    """The namespace with labels whose names end in the last part of the keyword (`istio_injection`)."""
    known = {"istio_injection": "istio-injection", "rev": "istio.io/rev", "mode": "istio.io/dataplane-mode"}
    return {
        NAMESPACE: {"metadata": {"name": NAMESPACE, "labels": {known[key]: value for key, value in labels.items()}}}
    }


def journal(alias: str = "192.0.2.99") -> Document:
    """What a run wrote down that migrated the one caller."""
    made = Journal(HOST, NAMESPACE, "migrated", "1", "me", "2026-01-01T00:00:00Z", alias, (), (CallerRecord(SHOP, ()),))
    return document(to_config_map(made))


def aliased(address: str, url: str = URL, name: str = "httpbin.org") -> dict[str, Any]:
    """The caller with a host alias."""
    return shop(env={"API": url}, hostAliases=[{"ip": address, "hostnames": ["x.example.com", name]}])


def proxy(cluster: str, address: str) -> dict[str, Any]:
    """Live parts of a survey: one pod whose sidecar has a cluster."""
    ref = Ref("Pod", NAMESPACE, "shop-1", "v1")
    snapshot = ProxySnapshot(ref, 0.0, (Upstream(cluster, None, configured_addresses=(address,)),), (), (), (), ())
    return {"pods": {"shop": [pod("shop-1")]}, "proxies": {ref: snapshot}, "live": True}


def job(owner: str = "", done: bool = False) -> dict[str, Any]:
    """A Job that calls the host."""
    body = workload("Job", "shop", env={"API": URL})
    if owner:
        body["metadata"]["ownerReferences"] = [{"kind": owner, "name": "x", "controller": True}]
    if done:
        body["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    return body


def secret(name: str) -> list[Body]:
    """An environment of one setting whose value is in a Secret, beside the URL."""
    return [{"name": "API", "value": URL}, {"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]


def held(kind: str, **spec: Any) -> dict[str, Any]:
    """A workload of another kind, or with fields in its spec."""
    return workload(kind, "shop", spec=spec, env={"API": URL})


def with_addresses(*addresses: str, variable: str = "", value: str = "true") -> dict[str, Any]:
    """Live parts of a survey: a pod with these addresses, and a variable of its sidecar."""
    found = pod("shop-1")
    env = [{"name": variable, "value": value}] if variable else []
    containers = [{**one, "env": env} if one["name"] == "istio-proxy" else one for one in found["spec"]["containers"]]
    status = {**found["status"], "podIPs": [{"ip": address} for address in addresses]}
    return {"pods": {"shop": [{**found, "spec": {**found["spec"], "containers": containers}, "status": status}]}}


BOTH = ("10.244.0.10", "fd00:10:244::a")
IPV6: dict[str, Any] = with_addresses(*BOTH, variable="ISTIO_DUAL_STACK")
"""A pod with an address of each family, and a redirect for both."""


def denied(resource: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """What a survey says of a refused read."""
    return {"denied": (Denied("list", resource, namespace, "forbidden"),)}


TRIGGERS: dict[str, list[Case]] = {
    "no-sidecar": [
        case("label", shop(labels={"sidecar.istio.io/inject": "false"})),
        case("annotation", shop(annotations={"sidecar.istio.io/inject": "false"})),
        case(
            "label although a pod has one",
            shop(labels={"sidecar.istio.io/inject": "false"}),
            pods={"shop": [pod("shop-1")]},
        ),
        case("pod", live=True, pods={"shop": [bare()]}),
        case("one of two pods", live=True, pods={"shop": [pod("shop-0"), bare()]}),
        case(
            "istio-proxy that does not stay",
            live=True,
            pods={"shop": [{**bare(), "spec": {"containers": [], "initContainers": [container("istio-proxy")]}}]},
        ),
        case("no pods, nothing asks", live=True, namespaces=namespaces()),
        case(
            "no pods, namespace says no",
            shop(labels={"sidecar.istio.io/inject": "true"}),
            live=True,
            namespaces=namespaces(istio_injection="disabled"),
        ),
    ],
    "not-intercepted": [
        case("mode", shop(annotations={"sidecar.istio.io/interceptionMode": "NONE"})),
        case("config", shop(annotations={"proxy.istio.io/config": "concurrency: 1\ninterceptionMode: NONE\n"})),
        case("interface", annotated(excludeInterfaces="eth1")),
        case("host network", shop(hostNetwork=True)),
        case("user of the pod", shop(securityContext={"runAsUser": 1337})),
        case(
            "group of the container",
            shop(containers=[container("shop", env={"API": URL}, securityContext={"runAsGroup": 1337})]),
        ),
    ],
    "port-not-captured": [
        case("80", annotated(excludeOutboundPorts="9090, 80")),
        case("443", annotated(excludeOutboundPorts="443")),
        case("alias excluded", annotated(excludeOutboundIPRanges="10.0.0.0/8,192.0.0.0/16")),
        case("alias not included", annotated(includeOutboundIPRanges="10.0.0.0/8")),
        case("nothing included", annotated(includeOutboundIPRanges="")),
        case("one port included", annotated(includeOutboundIPRanges="10.0.0.0/8", includeOutboundPorts="80")),
        case("mesh-wide", settings=MeshSettings(exclude_outbound_ports="80")),
        case("mesh-wide range", settings=MeshSettings(include_ip_ranges="10.0.0.0/8")),
        case("IPv6 excluded", annotated(excludeOutboundIPRanges="100::/8"), **IPV6),
        case("IPv6 not included", annotated(includeOutboundIPRanges="0.0.0.0/0"), **IPV6),
        case(
            "IPv6 not included, without alias", annotated(includeOutboundIPRanges="0.0.0.0/0"), fail_open=True, **IPV6
        ),
        case("public IPv6, without alias", annotated(excludeOutboundIPRanges="2000::/3"), fail_open=True, **IPV6),
        case("IPv4 redirected alone", **with_addresses(*BOTH)),
        case("IPv4 redirected alone, without alias", fail_open=True, **with_addresses(*BOTH)),
        case("two families switched off", **with_addresses(*BOTH, variable="ISTIO_DUAL_STACK", value="false")),
        case("without alias, some addresses", annotated(includeOutboundIPRanges="192.0.2.0/24"), fail_open=True),
        case("without alias, public range", annotated(excludeOutboundIPRanges="8.8.8.0/24"), fail_open=True),
    ],
    "host-not-visible": [
        with_objects("namespace", sidecar(egress=[{"hosts": ["./*.cluster.local", "istio-system/*"]}])),
        with_objects("other scope", sidecar(egress=[{"hosts": ["shared/httpbin.org"]}])),
        with_objects("root", sidecar(namespace="istio-system", egress=[{"hosts": ["istio-system/*"]}])),
        with_objects(
            "selected",
            sidecar("own", workloadSelector={"labels": {"app": "shop"}}, egress=[{"hosts": ["~/*"]}]),
            sidecar(egress=[{"hosts": ["*/*"]}]),
        ),
        with_objects("listener", sidecar(egress=[{"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*/*"]}])),
        with_objects("not exported", entry(exportTo=["shared"])),
    ],
    "rule-shadowed": [
        with_objects("no TLS", rule(trafficPolicy=tls_on_80(mode="DISABLE"))),
        with_objects("some workloads", rule(workloadSelector={"matchLabels": {"app": "shop"}})),
        with_objects(
            "our subset's name", rule(subsets=[{"name": "kubectl-egress", "trafficPolicy": tls_on_80(mode="DISABLE")}])
        ),
        with_objects(
            "our subset's name, and no TLS in all of it",
            rule(subsets=[{"name": "kubectl-egress", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]),
        ),
        with_objects("older than ours", rule(created="08:00"), document(mesh.destination_rule(HOST, NAMESPACE))),
        with_objects(
            "beside one that fits",
            rule("a", created="08:00"),
            rule("b", created="09:00", trafficPolicy=tls_on_80(mode="MUTUAL")),
        ),
        with_objects(
            "newer, exported otherwise", rule("a", created="08:00", exportTo=["."]), rule("b", created="09:00")
        ),
    ],
    "entry-conflict": [
        with_objects("protocol", entry(ports=[port(80, "TCP")])),
        with_objects("resolution", entry(resolution="STATIC", endpoints=[{"address": "10.0.0.1"}])),
        with_objects("two that fit", entry("a", created="08:00"), entry("b", created="09:00")),
        with_objects("elsewhere, other port", entry(namespace="shared", ports=[port(8443, "TLS")])),
        with_objects("elsewhere, endpoints", entry(namespace="shared", endpoints=[{"address": "10.0.0.1"}])),
        with_objects("alias", entry(hosts=["db.example.com"], addresses=[ALIAS], ports=[port(80, "TCP")])),
        with_objects(
            "alias's network", entry(hosts=["db.example.com"], addresses=["192.0.0.0/8"], ports=[port(80, "TCP")])
        ),
        with_objects(
            "recorded alias", entry(hosts=["db.example.com"], addresses=["192.0.2.99"]), journals=(journal(),)
        ),
        with_objects("port 80", entry(hosts=["db.example.com"], ports=[port(80, "TCP")])),
    ],
    "route-conflict": [
        with_objects("mesh", route()),
        with_objects("mesh by name", route(gateways=["edge", "mesh"])),
        with_objects("another namespace's", route(namespace="shared")),
        with_objects("among others", route(hosts=["example.com", "httpbin.org"])),
    ],
    "init-before-sidecar": [
        case("files", with_init("early")),
        case(
            "classic",
            with_init("early"),
            live=True,
            pods={
                "shop": [
                    {
                        **pod("shop-1"),
                        "spec": {
                            "containers": [container("istio-proxy")],
                            "initContainers": [container("istio-init"), container("early")],
                        },
                    }
                ]
            },
        ),
        case("before the native one", with_init("early"), live=True, pods={"shop": [native()]}),
    ],
    "other-port": [
        case("http", shop(env={"API": URL, "ADMIN": "http://httpbin.org:8080/"})),
        case("clear on 443", shop(env={"API": URL, "ADMIN": "http://httpbin.org:443/"})),
        case("other protocol", shop(env={"API": URL, "DB": "postgres://me:secret@httpbin.org:5432/db"})),
        case("host and port", shop(env={"API": URL, "BROKER": "a.example.com:1,httpbin.org:9092"})),
    ],
    "host-aliased": [
        case("alias", aliased("10.1.2.3")),
        case("upper case", aliased("10.1.2.3", name="HTTPBIN.org.")),
        case("an address of nobody's", aliased("192.0.2.99" if ALIAS != "192.0.2.99" else "192.0.2.98")),
        case(
            "mount",
            shop(
                containers=[
                    container(
                        "shop",
                        env={"API": URL},
                        volumeMounts=[{"name": "h", "mountPath": "/etc/hosts", "subPath": "hosts"}],
                    )
                ]
            ),
        ),
    ],
    "proxy-needs-host": [
        case("tracing", **proxy("zipkin", "httpbin.org:9411")),
        case("another service", **proxy("outbound|443||collector.example.com", "httpbin.org:443")),
    ],
    "own-proxy": [
        case("http", shop(env={"API": URL, "HTTP_PROXY": "http://proxy:3128"})),
        case("https, lower case", shop(env={"API": URL, "https_proxy": "http://proxy:3128"})),
        case(
            "all, elsewhere excluded",
            shop(env={"API": URL, "ALL_PROXY": "socks5://p:1", "NO_PROXY": "localhost,bin.org,.svc,httpbin.org:443"}),
        ),
        case(
            "unreadable",
            shop(
                env=[
                    {"name": "API", "value": URL},
                    {"name": "HTTP_PROXY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ]
            ),
        ),
        case(
            "ConfigMap",
            shop(containers=[container("shop", env={"API": URL}, envFrom=[{"configMapRef": {"name": "c"}}])]),
            maps=[config_map("c", {"HTTP_PROXY": "http://p:1"})],
        ),
        case(
            "JVM",
            shop(env={"API": URL, "JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=p -Dhttp.nonProxyHosts=localhost|*.svc"}),
        ),
        case("curl", scripted("while true; do\n curl -sx http://p:1 https://httpbin.org/get\n sleep 1; done")),
        case("curl by variable", scripted('curl --proxy p:1 "$API"', API=URL)),
        case("curl in a list", shop(env={}, command=["curl", "--proxy", "p:1", URL])),
        case(
            "curl by the variable of a key",
            shop(containers=[container("shop", env=BY_KEY, command=["sh", "-c", "curl -x p:1 $API"])]),
            maps=[config_map("c", {"url": URL})],
        ),
        case(
            "curl by a prefixed key, a chain and a loop",
            shop(
                containers=[
                    container(
                        "shop",
                        env={"B": "$(P_url)/x"},
                        envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
                        command=["sh", "-c", 'C="$B"\nfor d in $C; do curl -x p:1 "${d}"; done'],
                    )
                ]
            ),
            maps=[config_map("c", {"url": URL})],
        ),
        case(
            "curl in a mounted script, by variable",
            shop(
                env={},
                containers=[container("shop", env={"API": URL}, volumeMounts=[{"name": "v", "mountPath": "/run.d"}])],
                volumes=[{"name": "v", "configMap": {"name": "c"}}],
            ),
            maps=[config_map("c", {"run.sh": "curl --proxy p:1 $API\n"})],
        ),
        case(
            "curl in a probe",
            shop(
                env={},
                containers=[container("shop", livenessProbe={"exec": {"command": ["curl", "--proxy", "p:1", URL]}})],
            ),
        ),
        case(
            "curl by scheme and host",
            scripted("curl -x p:1 $PAY_SCHEME://$PAY_HOST/x", PAY_SCHEME="https", PAY_HOST="httpbin.org"),
        ),
    ],
    "own-trust": [
        case("file", shop(env={"API": URL, "SSL_CERT_FILE": "/ca/own.pem"})),
        case("node", shop(env={"API": URL, "NODE_EXTRA_CA_CERTS": "/ca/own.pem"})),
        case("node checks nothing", shop(env={"API": URL, "NODE_TLS_REJECT_UNAUTHORIZED": "0"})),
        case("JVM", shop(env={"API": URL, "JAVA_OPTS": "-Djavax.net.ssl.trustStore=/ca/own.jks"})),
        case("-k", scripted(f"curl -sk {URL}")),
        case("--insecure by variable", scripted("curl --insecure ${API}", API=URL)),
        case("--cacert", scripted(f"curl --cacert=/ca.pem {URL}")),
        case("wget", scripted(f"wget --no-check-certificate {URL}")),
        case(
            "script in a ConfigMap",
            shop(
                env={},
                containers=[container("shop", volumeMounts=[{"name": "v", "mountPath": "/run.d"}])],
                volumes=[{"name": "v", "configMap": {"name": "c"}}],
            ),
            maps=[config_map("c", {"run.sh": f"curl -k \\\n  {URL}\n"})],
        ),
    ],
    "client-certificate": [
        case("curl", scripted(f"curl --cert /c.pem {URL}")),
        case("-E", scripted(f"curl -sE /c.pem {URL}")),
        case("JVM", shop(env={"API": URL, "JAVA_OPTS": "-Djavax.net.ssl.keyStore=/k.jks"})),
    ],
    "fails-open": [
        case("wildcard", shop(env={"API": "https://a.example.com/"}), hosts=(Host("*.example.com"),)),
        case("mesh", settings=MeshSettings(outbound_mode="ALLOW_ANY_DYNAMIC_DNS")),
    ],
    "gitops-owned": [
        case(
            "Argo CD",
            owned(annotations={"argocd.argoproj.io/tracking-id": f"shop:apps/Deployment:{NAMESPACE}/shop"}),
            live=True,
        ),
        case("Argo CD's manager", owned(managedFields=[{"manager": "argocd-controller"}]), live=True),
        case("Flux", owned({"kustomize.toolkit.fluxcd.io/name": "apps"}), live=True),
        case("Flux's Helm", owned({"helm.toolkit.fluxcd.io/name": "apps"}), live=True),
        case("Helm", owned({"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "shop"}), live=True),
        case("kapp", owned({"kapp.k14s.io/app": "1"}), live=True),
        case("operator", owned(ownerReferences=[{"kind": "Shop", "name": "shop", "controller": True}]), live=True),
        with_objects(
            "entry that would be taken over",
            Document(
                entry().ref,
                {
                    **entry().body,
                    "metadata": {**entry().body["metadata"], "labels": {"kustomize.toolkit.fluxcd.io/name": "mesh"}},
                },
            ),
            live=True,
        ),
    ],
    "two-ports": [
        case("both", shop(env={"API": URL, "ADMIN": "https://httpbin.org:8443/"})),
        case("both by name", shop(env={"API": URL, "ADMIN": "https://httpbin.org:8443/"}), hosts=(HOST, ADMIN)),
        case("two workloads", shop(), deployment("admin", env={"A": "https://httpbin.org:8443/"})),
        case("one is migrated", shop(env={"ADMIN": "https://httpbin.org:8443/"}), journals=(journal(),)),
        case(
            "by an entry in Git",
            shop(env={"ADMIN": "https://httpbin.org:8443/"}),
            objects=[document(mesh.service_entry(HOST, NAMESPACE))],
        ),
        case("port 80", shop(env={"API": "https://httpbin.org:80/"}), hosts=(Host("httpbin.org", 80),)),
        case("a wildcard", shop(env={"API": "https://a.httpbin.org:8443/"}), hosts=(Host("*.httpbin.org", 8443),)),
    ],
    "template-immutable": [case("Job", job(), live=True)],
    "not-rolled": [
        case("OnDelete", held("StatefulSet", updateStrategy={"type": "OnDelete"}), live=True),
        case("DaemonSet", held("DaemonSet", updateStrategy={"type": "OnDelete"}), live=True),
        case("partition", held("StatefulSet", updateStrategy={"rollingUpdate": {"partition": 1}}), live=True),
        case("ReplicaSet", held("ReplicaSet"), live=True),
    ],
    "rollout-paused": [case("paused", held("Deployment", paused=True), live=True)],
    "not-rewritable": [
        case("port", shop(env={"API": "https://httpbin.org:80/"})),
        case("composed", shop(env={"SCHEME": "https", "API": "$(SCHEME)://httpbin.org/"}), hosts=(HOST,)),
        case("one of two", shop(env={"API": URL, "SCHEME": "https", "OTHER": "$(SCHEME)://httpbin.org/"})),
        case("comment", scripted(f"# see {URL}\ncurl {URL}")),
        case("Secret", shop(env=secret("DB_URL"))),
    ],
    "no-permission": [
        case("pods", **denied("pods")),
        case("entries", **denied("serviceentries.networking.istio.io")),
        case("elsewhere", **denied("serviceentries.networking.istio.io", "")),
        case("something else", **denied("envoyfilters.networking.istio.io")),
        case("no Istio", denied=(Denied("list", "serviceentries.networking.istio.io", "", "no Istio", absent=True),)),
        case(
            "sidecars",
            live=True,
            proxies={POD: ProxyUnread(POD, "neither port-forward nor exec is permitted", forbidden=True)},
        ),
    ],
    "plain-callers": [
        case("another", shop(), deployment("old", env={"API": "http://httpbin.org/"})),
        case("itself", shop(env={"API": URL, "OLD": "http://httpbin.org/"})),
    ],
    "looks-like-identifier": [
        case("issuer", shop(env={"OIDC_ISSUER": URL})),
        case("of a host that is called", shop(env={"API": URL, "REDIRECT_URL": URL}), hosts=(HOST,)),
    ],
    "secret-in-url": [case("token", shop(env={"API": f"{URL}?access_token=abc"}))],
    "ambient": [
        case("namespace", live=True, namespaces=namespaces(mode="ambient")),
        case("pod", shop(labels={"istio.io/dataplane-mode": "ambient"})),
    ],
}

_CLEAN = case(
    "the article's workload", scripted("while true; do\n  curl -vs https://httpbin.org/status/200\n  sleep .2\ndone;")
)
_READY = case("ready", live=True, pods={"shop": [pod("shop-1")]}, namespaces=namespaces(istio_injection="enabled"))

SILENT: dict[str, list[Case]] = {
    "no-sidecar": [
        _READY,
        case("native", live=True, pods={"shop": [native()]}),
        case("files say nothing", namespaces=namespaces()),
        case("namespace could not be read", live=True),
        case(
            "bare pod on its way out",
            live=True,
            namespaces=namespaces(rev="canary"),
            pods={"shop": [bare(metadata={"name": "shop-1", "deletionTimestamp": "x"})]},
        ),
        case(
            "bare pod that is done",
            live=True,
            namespaces=namespaces(rev="canary"),
            pods={"shop": [bare(status={"phase": "Succeeded"})]},
        ),
        case("pod label asks", shop(labels={"sidecar.istio.io/inject": "true"}), live=True, namespaces=namespaces()),
        case("another workload", shop(env={}), live=True, pods={"shop": [bare()]}),
    ],
    "not-intercepted": [
        _CLEAN,
        case("redirected", shop(annotations={"sidecar.istio.io/interceptionMode": "TPROXY"})),
        case(
            "the proxy's own user",
            shop(
                initContainers=[container("istio-proxy", restartPolicy="Always", securityContext={"runAsUser": 1337})]
            ),
        ),
        case(
            "container's own user",
            shop(
                securityContext={"runAsUser": 1337},
                containers=[container("shop", env={"API": URL}, securityContext={"runAsUser": 100})],
            ),
        ),
    ],
    "port-not-captured": [
        _CLEAN,
        case("other ports", annotated(excludeOutboundPorts="8080,8443")),
        case("other ranges", annotated(excludeOutboundIPRanges="10.0.0.0/8")),
        case("IPv6 elsewhere", annotated(excludeOutboundIPRanges="fd00::/8"), **IPV6),
        case("IPv6 included", annotated(includeOutboundIPRanges="0.0.0.0/0,::/0"), **IPV6),
        case("everything, without alias", fail_open=True, **IPV6),
        case("private IPv6, without alias", annotated(excludeOutboundIPRanges="fd00::/8"), fail_open=True, **IPV6),
        case("two families, on an older Istio", **with_addresses(*BOTH, variable="ISTIO_AGENT_DUAL_STACK")),
        case("IPv6 alone", **with_addresses("fd00:10:244::a")),
        case("IPv6 that no pod has", annotated(includeOutboundIPRanges="0.0.0.0/0", excludeOutboundIPRanges="::/0")),
        case("alias included", annotated(includeOutboundIPRanges="10.0.0.0/8,192.0.2.0/24")),
        case("ports included", annotated(includeOutboundIPRanges="10.0.0.0/8", includeOutboundPorts="80,443")),
        case(
            "pod wins over mesh", annotated(excludeOutboundPorts=""), settings=MeshSettings(exclude_outbound_ports="80")
        ),
        case("private ranges, without alias", annotated(excludeOutboundIPRanges="10.0.0.0/8"), fail_open=True),
    ],
    "host-not-visible": [
        _CLEAN,
        with_objects("shown", sidecar(egress=[{"hosts": ["./*"]}])),
        with_objects("shown by name", sidecar(egress=[{"hosts": ["*/httpbin.org"]}])),
        with_objects(
            "no egress",
            sidecar(workloadSelector={"labels": {"app": "shop"}}),
            sidecar("z", egress=[{"hosts": ["~/*"]}]),
        ),
        with_objects(
            "others selected", sidecar(workloadSelector={"labels": {"app": "other"}}, egress=[{"hosts": ["~/*"]}])
        ),
        with_objects("other namespace", sidecar(namespace="shared", egress=[{"hosts": ["~/*"]}])),
        with_objects("other port", sidecar(egress=[{"port": {"number": 9080}, "hosts": ["*/*"]}])),
    ],
    "rule-shadowed": [
        _CLEAN,
        with_objects("fits", rule(trafficPolicy=tls_on_80())),
        with_objects(
            "newer, exported further",
            rule("a", created="08:00", exportTo=["."]),
            rule("b", created="09:00", exportTo=[".", "x"]),
        ),
        with_objects("newer, exported alike", rule("a", created="08:00"), rule("b", created="09:00")),
        with_objects("ours", document(mesh.destination_rule(HOST, NAMESPACE))),
        with_objects("wildcard", rule(host="*.org", created="08:00", trafficPolicy=tls_on_80(mode="DISABLE"))),
        with_objects("another host", rule(host="example.com", trafficPolicy=tls_on_80(mode="DISABLE"))),
        with_objects("another namespace", rule(namespace="shared", trafficPolicy=tls_on_80(mode="DISABLE"))),
    ],
    "entry-conflict": [
        _CLEAN,
        with_objects("the article's", entry()),
        with_objects("ours", document(mesh.service_entry(HOST, NAMESPACE, alias=ALIAS, claims=[ALIAS]))),
        with_objects("elsewhere, same ports", entry(namespace="shared")),
        with_objects("not visible", entry(namespace="shared", exportTo=["."], ports=[port(8443, "TLS")])),
        with_objects(
            "TCP with addresses", entry(hosts=["db.example.com"], addresses=["198.51.100.1"], ports=[port(80, "TCP")])
        ),
        with_objects("HTTP of another host", entry(hosts=["example.com"])),
        with_objects("address, without alias", entry(hosts=["db.example.com"], addresses=[ALIAS]), fail_open=True),
        with_objects("no address at all", entry(hosts=["db.example.com"], addresses=["nonsense"])),
    ],
    "route-conflict": [
        _CLEAN,
        with_objects("ours", document(mesh.virtual_service(HOST, NAMESPACE))),
        with_objects("gateway", route(gateways=["istio-system/edge"])),
        with_objects("wildcard", route(hosts=["*.org"])),
        with_objects("SNI alone", route(http=[], tls=[{"match": [{"port": 443, "sniHosts": ["httpbin.org"]}]}])),
        with_objects("not exported", route(namespace="shared", exportTo=["."])),
    ],
    "init-before-sidecar": [
        _CLEAN,
        case("after the native one", with_init("late"), live=True, pods={"shop": [native()]}),
        case("annotation", with_init("early", annotations={"sidecar.istio.io/nativeSidecar": "true"})),
        case("calls nobody", shop(initContainers=[container("early")])),
    ],
    "other-port": [
        _CLEAN,
        case("https goes into the entry", shop(env={"API": URL, "ADMIN": "https://httpbin.org:8443/"}), hosts=(HOST,)),
        case("443", shop(env={"API": URL, "OTHER": "https://httpbin.org:443/", "HOST": "httpbin.org:443"})),
        case("http", shop(env={"API": URL, "OLD": "http://httpbin.org:80/"})),
        case(
            "another host's",
            shop(env={"API": URL, "DB": "postgres://api.httpbin.org:5432/", "X": "httpbin.org.evil.com:1"}),
        ),
        case(
            "without alias", shop(env={"API": URL, "ADMIN": "https://httpbin.org:8443/"}), hosts=(HOST,), fail_open=True
        ),
    ],
    "two-ports": [
        _CLEAN,
        case("one alone", shop(env={"API": "https://httpbin.org:8443/"})),
        case("one of two", shop(env={"API": URL, "ADMIN": "https://httpbin.org:8443/"}), hosts=(ADMIN,)),
        case("two names", shop(env={"API": URL, "ADMIN": "https://a.httpbin.org:8443/"})),
        case("two namespaces", shop(), deployment("far", "elsewhere", env={"A": "https://httpbin.org:8443/"})),
        case("the migrated one", shop(), journals=(journal(),)),
        case("in clear", shop(env={"API": "https://httpbin.org:8443/", "OLD": "http://httpbin.org/"})),
    ],
    "host-aliased": [
        _CLEAN,
        case("another host", aliased("10.1.2.3", name="api.httpbin.org")),
        case("ours, by the journal", aliased("192.0.2.99"), journals=(journal(),)),
        case(
            "ours, by the entry",
            aliased("192.0.2.98"),
            objects=[document(mesh.service_entry(HOST, NAMESPACE, alias="192.0.2.98"))],
        ),
        case("ours, by its number", aliased(ALIAS)),
        case("ours, IPv6", aliased(mesh.alias_address_v6(ALIAS))),
        case("without alias", aliased("10.1.2.3"), fail_open=True),
        case(
            "another file",
            shop(
                containers=[
                    container("shop", env={"API": URL}, volumeMounts=[{"name": "h", "mountPath": "/etc/hosts.d"}])
                ]
            ),
        ),
    ],
    "proxy-needs-host": [
        case("the host's own", **proxy("outbound|443||httpbin.org", "httpbin.org:443")),
        case("with the dot", **proxy("zipkin", "httpbin.org.:9411")),
        case("without alias", fail_open=True, **proxy("zipkin", "httpbin.org:9411")),
    ],
    "own-proxy": [
        _CLEAN,
        case("excluded", shop(env={"API": URL, "HTTP_PROXY": "http://p:1", "NO_PROXY": "localhost,httpbin.org"})),
        case("excluded by suffix", shop(env={"API": URL, "HTTP_PROXY": "http://p:1", "no_proxy": ".org"})),
        case("all excluded", shop(env={"API": URL, "HTTP_PROXY": "http://p:1", "NO_PROXY": "*"})),
        case("empty", shop(env={"API": URL, "HTTP_PROXY": ""})),
        case(
            "a container that does not call",
            shop(containers=[container("shop", env={"API": URL}), container("b", env={"HTTP_PROXY": "http://p:1"})]),
        ),
        case(
            "JVM, excluded",
            shop(env={"API": URL, "JAVA_OPTS": "-Dhttp.proxyHost=p -Dhttp.nonProxyHosts=localhost|*.org"}),
        ),
        case("curl for another host", scripted(f"curl {URL}; curl -x p:1 https://example.com/"), hosts=(HOST,)),
        case("a header", scripted(f"curl -H x-proxy:1 {URL}")),
    ],
    "own-trust": [
        _CLEAN,
        case("public bundle", shop(env={"API": URL, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"})),
        case("node checks", shop(env={"API": URL, "NODE_TLS_REJECT_UNAUTHORIZED": "1"})),
        case("another command", scripted(f"curl {URL} | grep -k x; curl -k https://example.com/"), hosts=(HOST,)),
        case("an option's value", scripted(f"curl -ojunk {URL}")),
        case("wget's -k", scripted(f"wget -k {URL}")),
    ],
    "client-certificate": [_CLEAN, case("--cert-status", scripted(f"curl --cert-status {URL}"))],
    "fails-open": [
        _CLEAN,
        case("asked for", shop(env={"API": "https://a.example.com/"}), hosts=(Host("*.example.com"),), fail_open=True),
    ],
    "gitops-owned": [
        case(
            "kubectl apply",
            owned(
                annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"},
                managedFields=[{"manager": "kubectl-client-side-apply"}],
            ),
            live=True,
        ),
        case(
            "labels that prove nothing",
            owned({"app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm"}),
            live=True,
        ),
        case(
            "copied tracking id",
            owned(annotations={"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/another"}),
            live=True,
        ),
        case(
            "Flux keeps out",
            owned({"kustomize.toolkit.fluxcd.io/name": "a"}, {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}),
            live=True,
        ),
        case("files", owned({"kapp.k14s.io/app": "1"})),
        case("nothing is changed", owned({"kapp.k14s.io/app": "1"}), live=True, migrating=False),
    ],
    "template-immutable": [
        case("done", job(done=True), live=True),
        case("a CronJob's", job(owner="CronJob"), live=True),
        case("files", job()),
        case("CronJob", held("CronJob"), live=True),
    ],
    "not-rolled": [
        case(
            "rolling",
            held("StatefulSet", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            live=True,
        ),
        case("Deployment", live=True),
        case("files", held("ReplicaSet")),
    ],
    "rollout-paused": [
        case("not paused", held("Deployment", paused=False), live=True),
        case("files", held("Deployment", paused=True)),
    ],
    "not-rewritable": [
        _CLEAN,
        case("a password in a Secret", shop(env=secret("DB_PASSWORD"))),
        case("http", shop(env={"API": URL, "OLD": "http://httpbin.org/"})),
    ],
    "no-permission": [_CLEAN, case("no answer", proxies={POD: ProxyUnread(POD, "it does not answer")})],
    "plain-callers": [
        _CLEAN,
        case("migrated", aliased("192.0.2.99", "http://httpbin.org/"), hosts=(HOST,), journals=(journal(),)),
        case(
            "aliased",
            shop(),
            {**aliased(ALIAS, "http://httpbin.org/"), "metadata": {"name": "old", "namespace": NAMESPACE}},
        ),
        case("another host", shop(), deployment("old", env={"API": "http://api.httpbin.org/"})),
        case("another port", shop(), deployment("old", env={"API": "http://httpbin.org:8080/"})),
    ],
    "looks-like-identifier": [
        _CLEAN,
        case("another host", shop(env={"API": URL, "ISSUER": "https://idp.example.com"}), hosts=(HOST,)),
        case("in clear", shop(env={"API": URL, "xmlns": "http://www.w3.org/1999/xhtml"})),
        case("annotated", {**shop(env={"ISSUER": URL}, annotations={"egress.kubectl/calls": "httpbin.org"})}),
    ],
    "secret-in-url": [_CLEAN, case("user info", shop(env={"API": "https://me:pw@httpbin.org/get?page=1"}))],
    "ambient": [
        _CLEAN,
        case("not this pod", shop(labels={"istio.io/dataplane-mode": "none"}), namespaces=namespaces(mode="ambient")),
    ],
}
