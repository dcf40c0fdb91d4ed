"""Verdicts as JUnit XML, which CI systems show: one test case for each workload and host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from kubectl_egress import urls
from kubectl_egress.model import Judgement, Verdict
from kubectl_egress.report.names import short_name
from kubectl_egress.report.table import one_line
from kubectl_egress.report.verify import item_document


def verify_junit(verdicts: Sequence[Verdict]) -> str:
    """A `testsuites` document: what is not verified is a failure of its verdict's type, with the evidence as output."""
    root = Xml.Element("testsuites", name="kubectl egress verify")
    for namespace in sorted({verdict.workload.namespace for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.workload.namespace == namespace]
        failed = sum(verdict.judgement is not Judgement.VERIFIED for verdict in own)
        suite = Xml.SubElement(root, "testsuite", name=namespace, tests=str(len(own)), failures=str(failed), errors="0")
        for verdict in own:
            _case(suite, verdict)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, verdict: Verdict) -> None:
    case = Xml.SubElement(
        suite, "testcase", classname=f"{suite.get('name')}.{short_name(verdict.workload)}", name=str(verdict.host)
    )
    if verdict.judgement is not Judgement.VERIFIED:
        message = one_line(urls.shown(f"{verdict.judgement}: {verdict.reason}"))
        failure = Xml.SubElement(case, "failure", type=str(verdict.judgement), message=message)
        failure.text = "\n".join(
            one_line(urls.shown(f"pod/{pod.pod.name} {pod.judgement}: {pod.reason}")) for pod in verdict.pods
        )
    output = Xml.SubElement(case, "system-out")
    output.text = json.dumps(item_document(verdict), indent=1)
