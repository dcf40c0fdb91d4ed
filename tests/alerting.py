"""Debian's promtool: rules and expressions over series that are given, or that a lab's Envoys have exported."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.manifests import dump

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool on PATH (Debian: prometheus)")
ALERTS = {"EgressInClear", "EgressTlsFailing", "EgressErrors", "EgressSilent", "EgressOpaque"}

Series = Sequence[tuple[str, str]]
"""Names with labels, and values in promtool's notation, one for each minute."""
_SAMPLE = re.compile(r"^(istio_\w+\{.*\}) (\S+)$", re.MULTILINE)


def promtool(*arguments: str, directory: Path) -> str:
    """What it says; AssertionError when it does not succeed."""
    status, said = _run(directory, *arguments)
    assert status == 0, said
    return said


def firing(directory: Path, series: Series, at: str) -> set[str]:
    """The alerts of `rules.yaml` that fire, as promtool says when it is told that none does."""
    tests = [{"eval_time": at, "alertname": name, "exp_alerts": []} for name in sorted(ALERTS)]
    return set(re.findall(r"alertname: ?(\w+)", _refuted(directory, series, {"alert_rule_test": tests})))


def answered(directory: Path, series: Series, at: str, expressions: Iterable[str]) -> set[str]:
    """The expressions that have an answer, as promtool says when it is told that none has."""
    asked = sorted(set(expressions))
    tests = [{"expr": one, "eval_time": at, "exp_samples": []} for one in asked]
    said = _refuted(directory, series, {"promql_expr_test": tests})
    return {one for one in asked if f"expr: {_go(one)}, time" in said}


def recorded(scrapes: Sequence[str]) -> Series:
    """Prometheus expositions, of a minute each, as series; `_` where a series was not there yet."""
    read = [dict(_SAMPLE.findall(text)) for text in scrapes]
    names = sorted({name for one in read for name in one})
    return [(name, " ".join(_plain(one.get(name)) for one in read)) for name in names]


def _plain(value: str | None) -> str:
    return "_" if value is None else f"{float(value):g}" if float(value) < 1e6 else f"{float(value):.0f}"


def _go(text: Any) -> str:
    """As Go's %q has it."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _refuted(directory: Path, series: Series, tests: Mapping[str, Any]) -> str:
    inputs = [{"series": name, "values": values} for name, values in series]
    rules = [name for name in ("rules.yaml",) if (directory / name).exists()]
    body = {
        "rule_files": rules,
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, **tests}],
    }
    (directory / "test.yaml").write_text(dump([body]))
    status, said = _run(directory, "test", "rules", "test.yaml")
    assert ("SUCCESS" in said) == (status == 0), said
    assert "FAILED" in said or status == 0, said
    return said


def _run(directory: Path, *arguments: str) -> tuple[int, str]:
    assert PROMTOOL is not None, "skipped otherwise"
    done = subprocess.run([PROMTOOL, *arguments], cwd=directory, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr
