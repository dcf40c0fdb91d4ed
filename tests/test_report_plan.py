from __future__ import annotations

from typing import Any

from kubectl_egress.journal import JOURNAL_LABEL
from kubectl_egress.model import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    Action,
    CallSite,
    Finding,
    Host,
    Outcome,
    Plan,
    Ref,
    Severity,
    Skip,
    Step,
    Wait,
)
from kubectl_egress.report.plan import (
    object_list,
    outcomes_text,
    plan_document,
    plan_objects,
    plan_question,
    plan_text,
    refusal_text,
)
from kubectl_egress.urls import find_urls

HTTPBIN = Host("httpbin.org")
CURL = Ref("Deployment", "shop", "curl", "apps/v1")
RULE = Ref("DestinationRule", "shop", "httpbin", "networking.istio.io/v1")
JOURNAL = Ref("ConfigMap", "shop", "kubectl-egress.httpbin.org", "v1")


def body(ref: Ref, **more: Any) -> dict[str, Any]:
    metadata = {"name": ref.name, "namespace": ref.namespace, "uid": "u", "resourceVersion": "1"}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, **more}


def curl(scheme: str) -> dict[str, Any]:
    container = {"name": "curl", "command": ["sh", "-c", f"curl {scheme}://bob:pw@httpbin.org/status/200"]}
    return body(CURL, spec={"template": {"spec": {"containers": [container]}}}, status={"replicas": 1})


def journal() -> dict[str, Any]:
    made = body(JOURNAL, data={"journal.json": "{}"})
    made["metadata"]["labels"] = {JOURNAL_LABEL: "true"}
    return made


STEPS = (
    Step(1, Action.CREATE, JOURNAL, "note what is there now", after=journal()),
    Step(2, Action.CREATE, RULE, "originate TLS", after=body(RULE, spec={"host": "httpbin.org"})),
    Step(3, Action.WAIT, None, "wait for the proxies", wait=Wait.PROXIES, workloads=(CURL,)),
    Step(4, Action.PATCH, CURL, "URLs to http://", before=curl("https"), after=curl("http")),
    Step(5, Action.VERIFY, None, "prove it", workloads=(CURL,)),
)
SITE = CallSite(CURL, CURL, ("spec", "x"), find_urls("https://bob:pw@httpbin.org/a")[0])
FINDING = Finding("https-redirect", Severity.WARN, "it may answer 301", "look at it", CURL, HTTPBIN)
PLAN = Plan((HTTPBIN,), "shop", STEPS, (Skip(SITE, "a comment"),), (FINDING,), {CURL: True})
NOTHING = Plan((HTTPBIN,), "shop", ())


def test_a_plan_without_steps_says_so() -> None:
    assert plan_text(NOTHING) == "httpbin.org: nothing to do.\n"
    assert plan_objects(NOTHING) == []
    assert plan_document(NOTHING)["steps"] == []


def test_the_plan_at_one_glance() -> None:
    assert (
        plan_text(PLAN)
        == """\
httpbin.org in namespace shop: 5 steps, 3 writes

1. create configmap/kubectl-egress.httpbin.org
    note what is there now

2. create destinationrule.networking.istio.io/httpbin
    originate TLS
    + kind: DestinationRule
    + spec:
    +   host: httpbin.org

3. wait deployment/curl
    wait for the proxies

4. patch deployment.apps/curl
    URLs to http://
      spec:
        template:
          spec:
            containers:
            - name: curl
              command:
    -         - curl https://***@httpbin.org/status/200
    +         - curl http://***@httpbin.org/status/200

5. verify deployment/curl
    prove it

Left alone:
  deployment/curl .spec.x https://***@httpbin.org/a: a comment

warn   https-redirect  deployment/curl, httpbin.org: it may answer 301
       → look at it

deployment/curl fails closed: without its sidecar a request fails, and none leaves in clear.
"""
    )


def test_what_the_steps_own_line_says_is_not_shown_twice() -> None:
    made = body(RULE, spec={"host": "httpbin.org"})
    made["metadata"] |= {"labels": {MANAGED_BY_LABEL: MANAGED_BY, "other": "label"}, "annotations": {"a": "b"}}
    text = plan_text(Plan((HTTPBIN,), "shop", (Step(1, Action.CREATE, RULE, "", after=made),)))
    assert "managed-by" not in text
    assert "name: httpbin\n" not in text
    assert "    +     other: label\n" in text
    assert "    +     a: b\n" in text


def test_the_question_sums_up_what_has_scrolled_away() -> None:
    assert plan_question(PLAN) == "httpbin.org in namespace shop: create 2 objects, patch 1 object?"
    rollout = Step(1, Action.WAIT, CURL, "roll out", wait=Wait.ROLLOUT)
    assert plan_question(Plan((HTTPBIN,), "shop", (rollout,))) == "httpbin.org in namespace shop: roll out 1 workload?"


def test_a_refusal_shows_what_is_in_the_way_and_no_step_that_will_not_be_done() -> None:
    text = refusal_text(PLAN)
    assert text.startswith("httpbin.org in namespace shop:\n\nLeft alone:\n")
    assert "warn   https-redirect" in text
    assert "1. create" not in text
    assert "fails closed" not in text


def test_waits_say_what_has_come_about() -> None:
    waits = [Step(1, Action.WAIT, CURL, "", wait=Wait.ROLLOUT), Step(1, Action.WAIT, CURL, "", wait=Wait.NO_OLD_PODS)]
    assert outcomes_text([Outcome(one, done) for one in waits for done in (True, False)]) == (
        "deployment.apps/curl rolled out\ndeployment.apps/curl not rolled out\n"
        "deployment.apps/curl free of old pods\ndeployment.apps/curl not free of old pods\n"
    )


def test_a_workload_that_fails_open_is_said_aloud() -> None:
    text = plan_text(Plan((HTTPBIN,), "shop", STEPS[4:], fails_closed={CURL: False}))
    assert text.endswith("\ndeployment/curl FAILS OPEN: without its sidecar requests leave the pod in clear.\n")


def test_colour_marks_the_diff() -> None:
    assert "\x1b" not in plan_text(PLAN)
    assert "    \x1b[32m+ kind: DestinationRule\x1b[0m\n" in plan_text(PLAN, colour=True)


def test_the_document_has_the_names_of_the_contract() -> None:
    document = plan_document(PLAN)
    assert (document["apiVersion"], document["kind"]) == ("egress.kubectl/v1", "MigratePlan")
    assert [step["action"] for step in document["steps"]] == ["create", "create", "wait", "patch", "verify"]
    assert document["steps"][3] == {
        "order": 4,
        "action": "patch",
        "object": {"kind": "Deployment", "namespace": "shop", "name": "curl"},
        "title": "URLs to http://",
        "diff": "  spec:\n    template:\n      spec:\n        containers:\n        - name: curl\n          command:\n"
        "-         - curl https://***@httpbin.org/status/200\n+         - curl http://***@httpbin.org/status/200\n",
    }
    assert document["steps"][2]["object"] is None
    assert document["steps"][2]["workloads"] == [{"kind": "Deployment", "namespace": "shop", "name": "curl"}]
    assert document["skipped"][0]["reason"] == "a comment"
    assert document["findings"][0]["code"] == "https-redirect"
    assert document["workloads"][0]["failsClosed"] is True


def test_no_output_for_people_or_programs_holds_a_credential() -> None:
    assert "bob" not in plan_text(PLAN) + repr(plan_document(PLAN))


def test_the_objects_are_those_to_apply_in_order_without_the_journal() -> None:
    rule, workload = plan_objects(PLAN)
    assert rule["metadata"] == {"name": "httpbin", "namespace": "shop"}
    assert workload["kind"] == "Deployment"
    assert "status" not in workload
    # an object to apply is whole: masking would break it
    assert workload["spec"] == curl("http")["spec"]
    assert object_list([rule, workload]) == {"apiVersion": "v1", "kind": "List", "items": [rule, workload]}


def test_an_object_that_is_written_twice_comes_once_as_it_ends() -> None:
    first = Step(1, Action.CREATE, RULE, "", after=body(RULE, spec={"host": "a"}))
    second = Step(2, Action.UPDATE, RULE, "", after=body(RULE, spec={"host": "b"}))
    assert [one["spec"]["host"] for one in plan_objects(Plan((HTTPBIN,), "shop", (first, second)))] == ["b"]
    gone = Step(3, Action.DELETE, RULE, "")
    assert plan_objects(Plan((HTTPBIN,), "shop", (first, second, gone))) == []


def test_outcomes_read_like_kubectls() -> None:
    outcomes = [
        Outcome(STEPS[1], True),
        Outcome(STEPS[2], True, "1 proxy"),
        Outcome(STEPS[3], False, "the server could not find https://bob:pw@httpbin.org"),
    ]
    assert outcomes_text(outcomes) == (
        "destinationrule.networking.istio.io/httpbin created\n"
        "deployment/curl ready (1 proxy)\n"
        "deployment.apps/curl not patched: the server could not find https://***@httpbin.org\n"
    )
    assert outcomes_text([]) == ""
