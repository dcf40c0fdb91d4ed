"""What `.ci/run` does with its time: the slow tier with every Istio, as far as there is time to begin it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scene import until

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the slow tier needs Linux")

# Says what it was called for, and has a test pass; builds at once, later than anybody waits, or not at all.
MAKE = """\
#!/bin/sh
echo "$*" >>calls
report=$(echo "$*" | sed -n 's/.*--junitxml=\\([^ ]*\\).*/\\1/p')
[ -z "$report" ] || echo '<testsuite tests="1" failures="0" errors="0" skipped="0" time="1"/>' >"$report"
case "$*" in
"programs ISTIO=$SLOW") echo $$ >builder; exec sleep 600 ;;
"programs ISTIO=$BROKEN") echo "no such module"; exit 1 ;;
"$FAILING"*) echo "it fails"; exit 1 ;;
esac
"""
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended, and what was made."""

    status: int
    out: str
    err: str
    calls: list[str]
    directory: Path


def ci_run(directory: Path, *, slow: str = "", broken: str = "", failing: str = "none", after: float = 0) -> Ended:
    """Run it in a directory of its own, `after` seconds of its time.

    With an Istio that is slow or fails to build, or a target that fails.
    """
    programs = directory / "programs"
    for made in (directory / ".ci", directory / ".venv" / "bin", programs):
        made.mkdir(parents=True)
    for name in ("run", "total.py"):
        shutil.copy(REPOSITORY / ".ci" / name, directory / ".ci" / name)
    (directory / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stand_ins = {"make": MAKE, "go": "#!/bin/sh\n", "sudo": '#!/bin/sh\n[ "$1" != -n ] || shift\nexec "$@"\n'}
    for name, text in stand_ins.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "SLOW": slow, "BROKEN": broken, "FAILING": failing}
    # Bash goes on counting from there.
    environment["SECONDS"] = str(int(after))
    done = subprocess.run([".ci/run"], cwd=directory, env=environment, capture_output=True, text=True, timeout=60)
    calls = (directory / "calls").read_text().splitlines()
    return Ended(done.returncode, done.stdout, done.stderr, calls, directory)


def slow_tiers(ended: Ended) -> list[str]:
    """The Istios with which the slow tier ran."""
    return [call.split()[1].removeprefix("ISTIO=") for call in ended.calls if call.startswith("test-cluster")]


def test_in_time_it_runs_with_all(tmp_path: Path) -> None:
    ended = ci_run(tmp_path)
    assert ended.status == 0, ended
    assert slow_tiers(ended) == ["1.31", "1.24", "1.18"]
    assert "5 passed in 5.00s" in ended.out
    assert "NOT RUN" not in ended.out + ended.err


def test_what_is_not_built_in_time_is_not_run_and_said(tmp_path: Path) -> None:
    ended = ci_run(tmp_path, slow="1.24", after=70 * 60 - 4)
    assert ended.status == 0, ended
    assert slow_tiers(ended) == ["1.31"]
    assert "NOT RUN WITH ISTIO 1.24" in ended.err
    assert "3 passed, Istio 1.24 NOT RUN, Istio 1.18 NOT RUN in" in ended.out
    builder = int((tmp_path / "builder").read_text())
    until(lambda: not Path(f"/proc/{builder}").exists(), "the builder has ended with it")


def test_without_any_istio_it_fails(tmp_path: Path) -> None:
    ended = ci_run(tmp_path, after=HOUR * 1.5)
    assert ended.status == 1, ended
    assert slow_tiers(ended) == []


def test_what_cannot_be_built_fails_and_is_shown(tmp_path: Path) -> None:
    ended = ci_run(tmp_path, broken="1.24")
    assert ended.status == 1, ended
    assert slow_tiers(ended) == ["1.31"]
    assert "no such module" in ended.out


@pytest.mark.parametrize("failing", ["lint", "test-install"])
def test_what_fails_beside_something_else_fails_the_run_and_is_shown(failing: str, tmp_path: Path) -> None:
    ended = ci_run(tmp_path, failing=failing)
    assert ended.status == 1, ended
    assert "it fails" in ended.out
    assert any(call.startswith("test-install") for call in ended.calls) is (failing == "test-install")
    assert slow_tiers(ended) == []
