"""When silence after a migration is a failure: where there had been calls before, host by host and workload by workload."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from kubectl_egress.apply import Conditions, NotProvenError
from kubectl_egress.cluster import Cluster
from kubectl_egress.model import (
    Action,
    Endpoint,
    Host,
    Judgement,
    ProxySnapshot,
    Ref,
    Survey,
    Upstream,
    Verdict,
    Workload,
)
from kubectl_egress.plan import calling
from kubectl_egress.scan import scan
from tests.build import NAMESPACE, deployment, document
from tests.build import workload as build_workload
from tests.test_plan import World, migration

RUN: Any = importlib.import_module("kubectl_egress.apply.run")
"""The module; the package has a function of that name."""
A, B, C = Host("httpbin.org"), Host("api.example.com"), Host("mail.example.net")
NAMELESS = "PassthroughCluster"


def workload(name: str, *hosts: Host) -> Workload:
    urls = {f"URL{number}": f"https://{host}/" for number, host in enumerate(hosts)}
    pod = {"metadata": {"name": name, "namespace": NAMESPACE}}
    return Workload(document(deployment(name, env=urls)), pods=(pod,))


def seen(workloads: Sequence[Workload], connections: Mapping[str, Sequence[str]]) -> Survey:
    """`connections`: the names of clusters that have had some, by workload."""
    proxies = {}
    for name, clusters in connections.items():
        pod = Ref("Pod", NAMESPACE, name)
        endpoints = (Endpoint("203.0.113.1", 443, connections=3),)
        upstreams = tuple(Upstream(cluster, None, endpoints=endpoints) for cluster in clusters)
        proxies[pod] = ProxySnapshot(pod, 0.0, upstreams, (), (), (), ())
    return Survey(namespace=NAMESPACE, workloads=tuple(workloads), proxies=proxies)


def ref(name: str) -> Ref:
    return document(deployment(name)).ref


@pytest.mark.parametrize(
    ("called", "clusters", "expected"),
    [
        ((A,), [], []),
        ((A,), [NAMELESS], [{A}]),
        ((A,), [f"outbound|443||{A.name}"], [{A}]),
        ((A,), [f"outbound|443||{A.name}", NAMELESS], [{A}]),
        # One of the two, and nobody knows which.
        ((A, B), [NAMELESS], [{A, B}]),
        ((A, B), [f"outbound|443||{B.name}"], [{B}]),
        ((A, B), [f"outbound|443||{B.name}", NAMELESS], [{B}, {A, B}]),
        # It may have been the host that is not asked about.
        ((A, C), [NAMELESS], []),
        ((C,), [NAMELESS], []),
        ((), [NAMELESS], []),
    ],
)
def test_who_has_been_calling(called: Sequence[Host], clusters: Sequence[str], expected: Sequence[set[Host]]) -> None:
    caller, other = workload("caller", *called), workload("other", C)
    survey = seen([caller, other], {"caller": clusters, "other": [NAMELESS]})
    sites = [site for one in survey.workloads for site in scan(one.document, {})]
    assert calling(survey, sites, [A, B]) == {(caller.ref, frozenset(hosts)) for hosts in expected}


def test_a_job_that_runs_on_says_nothing_about_the_next_one() -> None:
    """Its pods keep the old template: that they do not call http:// is no failure of the migration."""
    body = build_workload("CronJob", "nightly", env={"URL": f"https://{A}/"})
    nightly = Workload(document(body), pods=({"metadata": {"name": "nightly-1", "namespace": NAMESPACE}},))
    survey = seen([nightly], {"nightly-1": [NAMELESS, f"outbound|443||{A.name}"]})
    assert calling(survey, scan(nightly.document, {}), [A]) == frozenset()


def verdict(name: str, host: Host, judgement: Judgement) -> Verdict:
    return Verdict(host, ref(name), judgement, "", True, ())


@pytest.mark.parametrize(
    ("silent", "before", "fails"),
    [
        ([A], [], []),
        ([A], [{A}], [A]),
        ([A], [{B}], []),
        ([A], [{A, B}], []),
        ([A, B], [{A, B}], [A, B]),
        ([A, B], [{B}], [B]),
        # What was not looked at now is not silent.
        ([A, B], [{B, C}], []),
    ],
)
def test_what_silence_means(silent: Sequence[Host], before: Sequence[set[Host]], fails: Sequence[Host]) -> None:
    verdicts = [verdict("caller", host, Judgement.SILENT if host in silent else Judgement.VERIFIED) for host in (A, B)]
    groups = frozenset((ref("caller"), frozenset(hosts)) for hosts in before)
    assert [one.host for one in RUN.unacceptable(verdicts, groups)] == fails
    assert RUN.unacceptable(verdicts, frozenset((ref("another"), hosts) for _, hosts in groups)) == []


@pytest.mark.parametrize("judgement", [Judgement.FAILING, Judgement.LEAKING, Judgement.UNCONFIGURED])
def test_what_never_stands(judgement: Judgement) -> None:
    assert len(RUN.unacceptable([verdict("caller", A, judgement)], frozenset())) == 1


def test_each_caller_is_asked_about_its_own_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`migrate --all`: a workload that never called a host is not silent about it."""
    world = World(
        deployment("one", env={"A": f"https://{A}/"}),
        deployment("two", env={"A": f"https://{A}/", "B": f"https://{B}/"}),
    )
    plan = migration(world, A, B)
    [step] = [one for one in plan.steps if one.action is Action.VERIFY]
    asked: list[tuple[Host, str]] = []

    def observe(_: Cluster, pairs: Sequence[tuple[Host, Ref]], *__: Any, **___: Any) -> tuple[Verdict, ...]:
        asked.extend((host, workload.name) for host, workload in pairs)
        return tuple(Verdict(host, workload, Judgement.SILENT, "", True, ()) for host, workload in pairs)

    monkeypatch.setattr(RUN, "observe", observe)
    called = frozenset({(ref("one"), frozenset({A}))})
    with pytest.raises(NotProvenError, match=r"silent: deployment/one, httpbin\.org"):
        RUN._verified(step, plan, cast("Cluster", None), Conditions(calling=called))
    assert asked == [(A, "one"), (A, "two"), (B, "two")]
    RUN._verified(step, plan, cast("Cluster", None), Conditions())
