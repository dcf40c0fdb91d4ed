from __future__ import annotations

from typing import Any

import pytest
import typer

from kubectl_egress import cli
from kubectl_egress.cli.words import in_order

COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        # no-ops
        ("", ""),
        ("--help", "--help"),
        ("nonsense -n shop", "nonsense -n shop"),
        ("inspect deploy/curl -n shop -o json", "inspect deploy/curl -n shop -o json"),
        ("inspect --output=json -A", "inspect --output=json -A"),
        ("inspect -- -o=json --dry-run", "inspect -- -o=json --dry-run"),
        ("migrate h --dry-run=server", "migrate h --dry-run=server"),
        ("migrate h --dry-run server -y", "migrate h --dry-run server -y"),
        ("migrate h --field-manager --dry-run", "migrate h --field-manager --dry-run"),
        ("inspect --nonsense=true", "inspect --nonsense=true"),
        ("inspect --namespace=true", "inspect --namespace=true"),
        # what pflag takes and the parser does not
        ("inspect -o=json -n=shop", "inspect -o json -n shop"),
        ("inspect -l=app=curl", "inspect -l app=curl"),
        ("inspect --all-namespaces=true", "inspect --all-namespaces"),
        ("inspect --all-namespaces=false -R=true", "inspect -R"),
        ("migrate h --yes=0 --exit-code=T", "migrate h --exit-code"),
        ("report --verify=false", "report --no-verify"),
        ("report --verify=true", "report --verify"),
        ("migrate h --dry-run", "migrate h --dry-run=client"),
        ("migrate --dry-run h", "migrate --dry-run=client h"),
        ("migrate h --dry-run -y", "migrate h --dry-run=client -y"),
        # flags before the command
        ("-n shop inspect", "inspect -n shop"),
        ("--context=prod -A inspect deploy", "inspect --context=prod -A deploy"),
        ("--as inspect inspect", "inspect --as inspect"),
        ("--dry-run migrate h", "migrate --dry-run=client h"),
        # help
        ("help", "--help"),
        ("help inspect", "inspect --help"),
    ],
)
def test_words_are_read_as_kubectl_reads_them(given: str, read: str) -> None:
    assert in_order(given.split(), COMMANDS) == read.split()


def test_a_bare_dry_run_is_said_to_be_deprecated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "httpbin.org", "-f", "/nowhere", "--dry-run"]) == 1
    assert "--dry-run is deprecated and can be replaced with --dry-run=client." in capsys.readouterr().err
    cli.main(["migrate", "httpbin.org", "-f", "/nowhere", "--dry-run=client"])
    assert "deprecated" not in capsys.readouterr().err
