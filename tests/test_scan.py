"""What the pods of a workload call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kubectl_egress.kinds import KINDS
from kubectl_egress.model import Body, CallSite, Ref
from kubectl_egress.paths import get, kubectl_path
from kubectl_egress.places import CONTAINER_PLACES, Place, parse_place
from kubectl_egress.scan import REASON_COMMENT, REASON_COMPOSED, REASON_KUBELET, config_map_references, scan
from kubectl_egress.scan.call_sites import REASON_NO_TEMPLATE
from kubectl_egress.scan.script import shell_comments
from tests.build import config_map, config_maps, container, deployment, document, pod_template, workload

URL = "https://httpbin.org/get"
TEMPLATE = ".spec.template.spec.containers[0]"


def calls(body: Body, *maps: Body) -> tuple[CallSite, ...]:
    return scan(document(body), config_maps(*maps))


def said(sites: tuple[CallSite, ...]) -> list[tuple[str, str, str]]:
    """Where, what, and why not."""
    return [(f"{site.object.name}{kubectl_path(site.steps)}", site.url.text, site.reason) for site in sites]


NOTHING: list[dict[str, Any]] = [
    {},
    {"env": {"A": "http", "B": "https://shop.prod.svc/", "C": "https://10.0.0.1", "D": "https://localhost:8080/"}},
    {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
    {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k"}}}]},
    {"env": {"A": "https://$(HOST)/x"}},
    {"env": {"A": "$$(B)", "B": "x"}},
    {"containers": [container("istio-proxy", env={"A": URL})]},
    {"containers": [None, {"env": None, "envFrom": [None, {}], "volumeMounts": [{}]}]},
    {"containers": [container(livenessProbe={"httpGet": {"path": "/", "port": 80}})]},
    {"volumes": [{"name": "v", "configMap": {"name": "settings"}}]},
]


@pytest.mark.parametrize("template", NOTHING)
def test_no_calls(template: Mapping[str, Any]) -> None:
    assert calls(deployment(**template), config_map("settings", {"k": URL})) == ()


@pytest.mark.parametrize("kind", [row.kind for row in KINDS])
def test_every_kind(kind: str) -> None:
    body = workload(kind, env={"API": URL})
    (site,) = calls(body)
    assert get(body, site.steps) == URL
    assert (site.container, site.entry, site.rewritable, str(site.host)) == ("app", "API", True, "httpbin.org")


def test_own_strings_of_every_container() -> None:
    body = deployment(
        initContainers=[container("first", args=[URL])],
        containers=[
            container("main", command=["curl", URL], args=["a", f"x {URL} http://other.example.com"]),
            container("istio-proxy", args=[URL]),
            container("more", lifecycle={"preStop": {"exec": {"command": ["curl", "wss://c.example.com"]}}}),
        ],
    )
    assert said(calls(body)) == [
        ("app.spec.template.spec.initContainers[0].args[0]", URL, ""),
        (f"app{TEMPLATE}.command[1]", URL, ""),
        (f"app{TEMPLATE}.args[1]", URL, ""),
        (f"app{TEMPLATE}.args[1]", "http://other.example.com", ""),
        ("app.spec.template.spec.containers[2].lifecycle.preStop.exec.command[1]", "wss://c.example.com", ""),
    ]


@pytest.mark.parametrize("place", CONTAINER_PLACES, ids=lambda place: kubectl_path(place.pattern))
@pytest.mark.parametrize(
    ("field", "more"), [("containers", {}), ("initContainers", {}), ("initContainers", {"restartPolicy": "Always"})]
)
def test_every_place_of_every_container(place: Place, field: str, more: dict[str, Any]) -> None:
    value: Any = URL
    for step in reversed(place.pattern):
        value = [value] if step == "*" else {step: value}
    template: dict[str, Any] = {field: [{"name": "it", "image": "x", **more, **value}]}
    body = deployment(**template)
    (site,) = calls(body)
    assert get(body, site.steps) == URL
    assert (site.steps[:5], site.container) == (("spec", "template", "spec", field, 0), "it")
    assert site.rewritable


def test_file_and_line_are_the_workload_s() -> None:
    (site,) = scan(document(deployment(env={"A": URL}), "a.yaml", 7), {})
    assert (site.file, site.line) == ("a.yaml", 7)


# ---- ConfigMaps -----------------------------------------------------------------------------------------------------

SETTINGS = config_map("settings", {"a.properties": f"# {URL}#old\nurl={URL}\n", "b": "wss://b.example.com", "c": "x"})
BOTH = ["a.properties", "a.properties", "b"]


def mounted(volume: dict[str, Any], mount: dict[str, Any] | None = None) -> dict[str, Any]:
    main = container(volumeMounts=[{"name": "v", "mountPath": "/etc/x", **(mount or {})}])
    return deployment(containers=[main], volumes=[{"name": "v", **volume}])


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (deployment(env=[{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}}]), ["b"]),
        (deployment(containers=[container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}])]), BOTH),
        (mounted({"configMap": {"name": "settings"}}), BOTH),
        (mounted({"configMap": {"name": "settings", "items": [{"key": "b", "path": "x/y"}]}}), ["b"]),
        (mounted({"configMap": {"name": "settings"}}, {"subPath": "b"}), ["b"]),
        (mounted({"configMap": {"name": "settings", "items": [{"key": "b", "path": "x/y"}]}}, {"subPath": "x"}), ["b"]),
        (mounted({"configMap": {"name": "settings", "items": [{"key": "b", "path": "x/y"}]}}, {"subPath": "b"}), []),
        (mounted({"projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "settings"}}]}}), BOTH),
        (mounted({"configMap": {"name": "gone", "optional": True}}), []),
        (mounted({"configMap": {"name": "settings"}}, {"name": "another"}), []),
    ],
)
def test_keys_that_a_container_reads(body: Body, keys: list[str]) -> None:
    sites = calls(body, SETTINGS)
    assert [site.entry for site in sites] == keys
    assert all(site.object == Ref("ConfigMap", "test-ext-svc", "settings") for site in sites)
    assert all(site.container == "app" for site in sites)


def test_a_commented_line_of_a_file_is_no_call() -> None:
    commented, used, _ = calls(mounted({"configMap": {"name": "settings"}}), SETTINGS)
    assert (commented.reason, used.reason) == (REASON_COMMENT, "")


def test_a_key_that_two_containers_read_is_one_call_site() -> None:
    entry = [{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}}]
    (site,) = calls(deployment(containers=[container("one", env=entry), container("two", env=entry)]), SETTINGS)
    assert site.container == ""


def test_references_to_config_maps() -> None:
    template = pod_template(
        initContainers=[container("i", envFrom=[{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "s"}}])],
        containers=[container(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "k"}}}])],
        volumes=[
            {"name": "v", "configMap": {"name": "c"}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "d"}}]}},
            {"name": "e", "emptyDir": {}},
        ],
    )
    found = config_map_references(template)
    assert [(get(template, steps), name) for steps, name in found] == [(name, name) for name in "abcd"]
    assert config_map_references({}) == ()


# ---- $(VAR) ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "sites"),
    [
        # one variable holds the URL: it is found there, and nowhere else
        ({"A": URL, "B": "$(A)/more", "C": "x $(B) y"}, [("0", URL, "")]),
        # the scheme stands there itself, and can be changed there
        ({"HOST": "httpbin.org", "A": "https://$(HOST)/get"}, [("1", URL, "")]),
        ({"HOST": "httpbin.org/get", "A": "https://$(HOST)"}, [("1", URL, "")]),
        ({"HOST": "httpbin.org.", "A": "https://$(HOST)/"}, [("1", "https://httpbin.org./", REASON_COMPOSED)]),
        ({"H": "httpbin.org:443", "A": "https://$(H)/"}, [("1", "https://httpbin.org:443/", REASON_COMPOSED)]),
        ({"HOST": "me@httpbin.org", "A": "https://$(HOST)/"}, [("1", "https://me@httpbin.org/", REASON_COMPOSED)]),
        ({"H": "httpbin", "A": "https://$(H).org/get"}, [("1", URL, "")]),
        ({"H": "https", "A": "x$(H)://httpbin.org"}, []),
        ({"S": "https", "H": "httpbin.org", "A": "$(S)://$(H)/get"}, [("2", URL, REASON_COMPOSED)]),
        ({"A": "https://httpbin.org$(P)", "P": "/x"}, []),  # an entry sees those before it only
        ({"P": "/get", "A": "https://httpbin.org$(P)"}, [("1", URL, REASON_COMPOSED)]),
        ({"P": "get", "A": "https://httpbin.org/$(P)"}, [("1", "https://httpbin.org/$(P)", "")]),
        ({"P": "8443", "A": "https://httpbin.org:$(P)/"}, [("1", "https://httpbin.org:8443/", REASON_COMPOSED)]),
        ({"H": ".evil.com", "A": "https://httpbin.org$(H)"}, [("1", "https://httpbin.org.evil.com", REASON_COMPOSED)]),
        ({"A": "https://$$(HOST)/ https://httpbin.org/get"}, [("0", URL, "")]),
        ({"H": "10.0.0.1", "A": "https://$(H)/"}, []),
    ],
)
def test_variables(env: dict[str, str], sites: list[tuple[str, str, str]]) -> None:
    expected = [(f"app{TEMPLATE}.env[{number}].value", url, reason) for number, url, reason in sites]
    assert said(calls(deployment(env=env))) == expected


def test_variables_in_a_command_and_from_a_config_map() -> None:
    main = container(
        command=["curl", "https://$(P_HOST)/get", "https://$(TOKEN).example.com"],
        env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "hosts"}}],
    )
    (site,) = calls(deployment(containers=[main]), config_map("hosts", {"HOST": "httpbin.org"}))
    assert said((site,)) == [(f"app{TEMPLATE}.command[1]", URL, REASON_COMPOSED)]
    assert not site.rewritable
    assert (site.url.start, site.url.edits) == (0, ())


def test_variables_that_double_each_other_end() -> None:
    env = {"A0": "https://$(H)xxxxxxxxxx"} | {f"A{n}": f"$(A{n - 1})$(A{n - 1})" for n in range(1, 60)}
    assert calls(deployment(env=env)) == ()


# ---- scripts and the kubelet ----------------------------------------------------------------------------------------


def test_comments_of_a_script_are_no_calls() -> None:
    script = f"# see {URL}\ncurl '{URL}#x' # and {URL}\n"
    for command in (["sh", "-c"], ["/bin/bash", "-euxc"], ["/sbin/tini", "--", "sh", "-c"]):
        sites = calls(deployment(command=command, args=[script]))
        assert [site.reason for site in sites] == [REASON_COMMENT, "", REASON_COMMENT]


def test_an_argument_that_no_shell_runs_has_no_comments() -> None:
    (site,) = calls(deployment(command=["./server"], args=[f"# {URL}"]))
    assert site.reason == ""


@pytest.mark.parametrize(
    ("script", "comments"),
    [
        ("echo a#b", []),
        ("echo $# ${#a}", []),
        ("echo 'a # b' \"c # d\" \\# e", []),
        ("# a", ["# a"]),
        ("a;# b\nc", ["# b"]),
        ("echo 'it''s' # b", ["# b"]),
        ("# don't\necho x # y", ["# don't", "# y"]),
        ('echo "a \\" # b"', []),
        ("cat <<EOF\nit's # a\n# b\nEOF\ncurl x # c", ["# b", "# c"]),
        ("cat > f <<'END' && run # a\n  # b\nx\nEND\n# c", ["# a", "  # b", "# c"]),
        ('cat <<-"END"\n\tdon\'t\n\tEND\necho # c', ["# c"]),
        ("cat <<A <<B\n# a\nA\n# b\nB\n# c", ["# a", "# b", "# c"]),
        ("echo $((1<<x)) # a\n# b", ["# a", "# b"]),
        ("cat <<< word # a\n'# b'", ["# a"]),
        ("cat <<EOF\n# a", ["# a"]),
    ],
)
def test_where_a_shell_begins_a_comment(script: str, comments: list[str]) -> None:
    assert [script[start:end] for start, end in shell_comments(script)] == comments


def test_what_the_kubelet_calls_is_not_rewritable() -> None:
    main = container(
        ports=[{"name": "tls", "containerPort": 8443}],
        livenessProbe={"httpGet": {"scheme": "HTTPS", "host": "httpbin.org", "port": 443, "path": "status/200"}},
        readinessProbe={"httpGet": {"host": "httpbin.org", "port": "tls"}},
        lifecycle={"postStart": {"httpGet": {"scheme": "HTTPS", "host": "{{ x }}", "port": {}}}},
    )
    sites = calls(deployment(containers=[main]))
    assert said(sites) == [
        (f"app{TEMPLATE}.livenessProbe.httpGet.host", "https://httpbin.org:443/status/200", REASON_KUBELET),
        (f"app{TEMPLATE}.readinessProbe.httpGet.host", "http://httpbin.org:8443/", REASON_KUBELET),
    ]
    assert not any(site.rewritable for site in sites)


# ---- annotations ----------------------------------------------------------------------------------------------------


def shown(field: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": field}}}


@pytest.mark.parametrize(
    ("template", "keys"),
    [
        ({}, []),
        ({"env": [shown("metadata.labels['a']"), shown("metadata.name")]}, []),
        ({"env": [shown("metadata.annotations['b']")]}, ["b"]),
        (
            {"volumes": [{"name": "v", "downwardAPI": {"items": [shown("metadata.annotations")["valueFrom"]]}}]},
            ["a", "b"],
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {
                            "sources": [{"downwardAPI": {"items": [shown("metadata.annotations")["valueFrom"]]}}]
                        },
                    }
                ]
            },
            ["a", "b"],
        ),
    ],
)
def test_annotations_that_the_application_reads(template: dict[str, Any], keys: list[str]) -> None:
    sites = calls(deployment(annotations={"a": URL, "b": f"x {URL}"}, **template))
    assert [site.entry for site in sites] == keys
    assert all(
        site.rewritable and get(deployment(annotations={"a": URL, "b": f"x {URL}"}), site.steps) for site in sites
    )


def test_annotations_for_what_is_injected_are_found_and_left_alone() -> None:
    annotations = {
        "vault.hashicorp.com/service": "https://vault.example.com:443",
        "vault.hashicorp.com/agent-inject-template-config": f"{{{{- with secret }}}}\nurl={URL}\n{{{{- end }}}}",
        "prometheus.io/path": URL,
    }
    sites = calls(deployment(annotations=annotations))
    assert [str(site.host) for site in sites] == ["vault.example.com", "httpbin.org"]
    assert not any(site.rewritable for site in sites)


# ---- more -----------------------------------------------------------------------------------------------------------


def test_a_row_of_path_adds_strings_once() -> None:
    body = deployment(env={"A": URL}, annotations={"config": URL})
    places = [
        parse_place("Deployment:spec.template.metadata.annotations.config"),
        parse_place(f"Deployment:{TEMPLATE}.env[*].value"),
    ]
    first, second = scan(document(body), {}, places)
    assert (first.container, kubectl_path(second.steps)) == ("app", ".spec.template.metadata.annotations.config")


def test_a_kind_that_only_a_row_of_path_knows() -> None:
    body = {"apiVersion": "example.com/v1", "kind": "Shop", "metadata": {"name": "r"}, "spec": {"x": URL}}
    (site,) = scan(document(body), {}, [parse_place("Shop.example.com:spec.x")])
    assert said((site,)) == [("r.spec.x", URL, REASON_NO_TEMPLATE)]


def test_the_cluster_s_own_domain() -> None:
    body = document(deployment(env={"A": "https://shop.k8s.example.com"}))
    assert len(scan(body, {})) == 1
    assert scan(body, {}, cluster_domain="k8s.example.com") == ()
