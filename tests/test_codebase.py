"""What holds of the code as a whole, and of the texts beside it."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress import __version__, cli
from kubectl_egress.findings import codes

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kubectl_egress"
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))
COMMANDS = {function.__name__ for function in cli.COMMANDS}
LONGEST_FUNCTION = 50
LONGEST_MODULE = 330


@functools.cache
def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


# ---- modules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_opens_with_one_sentence(module: Path) -> None:
    first = (ast.get_docstring(tree(module)) or "").split("\n\n")[0].split("\n")
    assert len(first) == 1
    assert first[0].endswith(".")
    assert not re.search(r"[.!?] [A-Z]", first[0][:-1])


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_is_named_for_what_it_does_and_stays_small(module: Path) -> None:
    assert module.stem not in ("utils", "util", "helpers", "helper", "manager", "managers", "data", "common", "misc")
    if module.name not in ("model.py",):
        assert len((ROOT / module).read_text().splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_functions_stay_short(module: Path) -> None:
    long = {one.name: 1 + (one.end_lineno or 0) - one.lineno for one in functions(module)}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_is_left_to_do_and_no_error_is_caught_unseen(module: Path) -> None:
    text = (ROOT / module).read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)
    broad = [
        node
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    # the outermost frame of the command line, where what is left is a bug
    assert len(broad) == (1 if module.name == "ending.py" else 0)


@functools.cache
def imported(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


EDGES = {
    "typer": ("cli",),
    "kubernetes": ("cluster",),
    "ruamel": ("manifests",),
    "pyroute2": ("lab",),
    "aiohttp": ("lab",),
}


@pytest.mark.parametrize(("library", "packages"), EDGES.items())
def test_a_library_has_one_importer(library: str, packages: tuple[str, ...]) -> None:
    assert {module.parts[1] for module in MODULES if library in imported(module)} == set(packages)


def test_data_flows_one_way() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 kept, 0 broken" in run.stdout


# ---- what users are told -----------------------------------------------------------------------------------------------


def words_after(words: str, text: str) -> set[str]:
    return set(re.findall(rf"{words} ([a-z][a-z-]*)\b", text))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_command_that_is_recommended_exists(module: Path) -> None:
    strings = [
        node.value for node in ast.walk(tree(module)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for text in strings:
        assert words_after(r"kubectl egress explain", text) <= set(codes()) | {"lists", "says"}
    commands = {word for text in strings for word in words_after(r"(?:`|: |; |\? |→ )kubectl egress", text)}
    assert commands <= COMMANDS


def readme() -> str:
    return (ROOT / "README.md").read_text()


def test_the_readme_names_every_command_and_no_other() -> None:
    assert words_after("kubectl egress", readme()) & COMMANDS == COMMANDS
    fenced = "\n".join(re.findall(r"```(?:console|sh)\n(.*?)```", readme(), re.DOTALL))
    assert words_after("kubectl egress", fenced) <= COMMANDS


def test_the_readme_gives_every_exit_status() -> None:
    for status in (0, 1, 2, 3, 70, 130):
        assert re.search(rf"^\|\s*{status}\s*\|", readme(), re.MULTILINE), status


def summaries(text: str) -> dict[str, str]:
    """The commands of the help with their summaries, the lines of each joined."""
    lines = text.partition("Commands:\n")[2].splitlines()
    found: dict[str, str] = {}
    for line in lines:
        name, _, rest = line.strip().partition("  ") if re.match(r"  \S", line) else ("", "", line)
        key = name or next(reversed(found))
        found[key] = " ".join(filter(None, [found.get(key, ""), rest.strip()]))
    return found


def test_the_help_reads_like_kubectls(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    found = summaries(capsys.readouterr().out)
    assert set(found) == COMMANDS
    for summary in found.values():
        assert summary[0].isupper()
        assert not summary.endswith("."), "kubectl's summaries have no full stop, and none is cut off"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_shows_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith("Usage: ")
    assert f" {command} [options]" in text.splitlines()[0]
    assert "\n  Examples:\n" in text
    examples = text.partition("\n  Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert all(line.startswith(f"    kubectl egress {command}") for line in examples)


# ---- Krew (docs/plugin-manifest.md, internal/index/validation) ----------------------------------------------------------


@pytest.fixture
def plugin() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "krew-manifest.yaml").read_text())
    return found


def test_the_plugin_is_described_as_krew_wants_it(plugin: dict[str, Any]) -> None:
    assert plugin["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert plugin["kind"] == "Plugin"
    assert re.fullmatch(r"[\w-]+", plugin["metadata"]["name"])
    spec = plugin["spec"]
    assert re.fullmatch(r"v\d+\.\d+\.\d+", spec["version"])
    assert spec["version"] == f"v{__version__}"
    assert 0 < len(spec["shortDescription"]) <= 50
    assert "\n" not in spec["shortDescription"]
    assert spec["homepage"].startswith("https://")
    assert set(spec) <= {"version", "homepage", "shortDescription", "description", "caveats", "platforms"}


def test_every_platform_is_one_that_krew_knows_and_none_comes_twice(plugin: dict[str, Any]) -> None:
    seen = []
    for platform in plugin["spec"]["platforms"]:
        assert set(platform) <= {"uri", "sha256", "selector", "files", "bin"}
        assert platform["uri"].endswith((".tar.gz", ".zip"))
        assert plugin["spec"]["version"] in platform["uri"]
        assert re.fullmatch(r"[a-f0-9]{64}", platform["sha256"])
        assert platform["bin"] == "kubectl-egress"
        labels = platform["selector"]["matchLabels"]
        assert set(labels) == {"os", "arch"}
        assert labels["os"] in ("linux", "darwin")
        assert labels["arch"] in ("amd64", "arm64")
        seen.append((labels["os"], labels["arch"]))
    assert len(seen) == len(set(seen)) > 0


def _possessive(parsed: Any) -> bool:
    return any(
        "POSSESSIVE" in str(operation) or any(_possessive(part) for part in _parts(argument))
        for operation, argument in parsed
    )


def _parts(argument: Any) -> Iterator[Any]:
    """The patterns inside an operation's argument, however deep."""
    if type(argument).__name__ == "SubPattern":
        yield argument
    elif isinstance(argument, list | tuple):
        for one in argument:
            yield from _parts(one)


@pytest.mark.parametrize(
    "module",
    [
        "urls",
        "scan.expansion",
        "scan.naming",
        "scan.script",
        "scan.settings",
        "manifests.reading",
        "report.diff",
        "proxy.exposition",
        "lab.calls",
    ],
)
def test_no_pattern_is_possessive_which_python_before_3_11_5_gets_wrong(module: str) -> None:
    found = vars(importlib.import_module(f"kubectl_egress.{module}")).values()
    patterns = [value for value in found if isinstance(value, re.Pattern)]
    parser = importlib.import_module("re._parser")
    assert not [one.pattern for one in patterns if _possessive(parser.parse(one.pattern, one.flags & ~re.DEBUG))]
