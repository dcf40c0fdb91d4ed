"""What is said while a plan is done on a cluster, and when it ends early: outcomes, reasons, the way on and back."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import socket
import sys
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from kubectl_egress.apply import InterruptedMigrationError, wait_free
from kubectl_egress.cli import interrupts
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.output import Ticker
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import Lease, from_config_map
from kubectl_egress.model import Host, Outcome, Plan, Survey
from kubectl_egress.plan import found_migrated
from kubectl_egress.report.plan import outcome_line
from kubectl_egress.urls import shown


class Narration:
    """Tells on stderr what becomes of a plan, and knows whether it is being done or undone."""

    def __init__(self, plan: Plan, connection: Connection, *, asked: str = "", undoing: bool = False) -> None:
        """`asked`: the flags of a migration, as they would be typed again, each with a blank before it."""
        self.ticker = Ticker(sys.stderr)
        self.undoing = undoing
        # It takes back what earlier runs have migrated of a host, too.
        self._whole = " (all of its callers)" if found_migrated(plan) and not undoing else ""
        self._asked = asked
        self._where = f"{hosts_text(plan)} -n {plan.namespace}{connection.again()}"

    def outcome(self, outcome: Outcome) -> None:
        """A step is done. KeyboardInterrupt for a Ctrl-C that has not been heard."""
        interrupts.check()
        self.ticker.line(outcome_line(outcome))

    def now(self, text: str) -> None:
        """What is being waited for. KeyboardInterrupt for a Ctrl-C that has not been heard."""
        interrupts.check()
        self.ticker.now(text)

    def turned_back(self, cause: EgressError) -> None:
        """A step failed, and what was done is going to be undone."""
        self.undoing = True
        self.ticker.line(shown(f"stopped: {cause.message}"))
        self.ticker.line("undoing what was done:")

    def go_on(self) -> str:
        """The command that goes on from here."""
        return self.go_back() if self.undoing else f"kubectl egress migrate {self._where}{self._asked}"

    def go_back(self) -> str:
        """The command that puts everything back."""
        return f"kubectl egress undo {self._where}"

    def interrupted(self, interruption: KeyboardInterrupt, *, dry_run: bool) -> KeyboardInterrupt:
        """What Ctrl-C ends with: what was done, how to go on, how to go back."""
        self.ticker.end()
        if dry_run:
            return KeyboardInterrupt("\nInterrupted: nothing was changed (server dry run).")
        after = ""
        if isinstance(interruption, InterruptedMigrationError):  # else it came between a plan and its undo
            progress = interruption.progress
            after = f" after {len(progress.done)} of {len(progress.plan.steps)} steps"
        lines = [f"\nInterrupted{after}. What was done stays as it is.", f"  go on:    {self.go_on()}"]
        return KeyboardInterrupt(
            "\n".join([*lines, *([] if self.undoing else [f"  go back:  {self.go_back()}{self._whole}"])])
        )


def hosts_text(plan: Plan) -> str:
    """The hosts as arguments."""
    return " ".join(map(str, plan.hosts))


def new_lease() -> Lease:
    """Who this run is, from now on."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return Lease(secrets.token_hex(4), f"{getpass.getuser()}@{socket.gethostname()}", started, started)


def waited_for_others(cluster: Cluster, seen: Survey, hosts: Collection[Host]) -> bool:
    """Whether another run had to be waited for, so that the survey is out of date. ConflictError if it is at work."""
    journals = [document for document in seen.journals if from_config_map(document.body).host in hosts]
    with before_the_first_write() as ticker:
        return wait_free(cluster, journals, ticker.now, ticker.line)


class Waiting(Ticker):
    """Also where nothing is written that Ctrl-C would be noticed by."""

    def now(self, text: str) -> None:
        """See Ticker."""
        interrupts.check()
        super().now(text)


@contextlib.contextmanager
def before_the_first_write() -> Iterator[Ticker]:
    """What is waited for is said on stderr; whoever interrupts it hears that nothing was changed."""
    ticker = Waiting(sys.stderr)
    try:
        yield ticker
    except KeyboardInterrupt:
        raise KeyboardInterrupt("\nInterrupted: nothing was changed.") from None
    finally:
        ticker.end()
