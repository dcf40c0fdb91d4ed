"""A migration, and what has drifted of it: the values, and their codes."""

from __future__ import annotations

from dataclasses import dataclass

from kubectl_egress import mesh
from kubectl_egress.journal import Journal
from kubectl_egress.model import Host, Ref


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as the migration left it."""

    code: str
    """One of `CODES`."""
    object: Ref
    message: str
    remedy: str


CODES = {
    "unfinished": "a migration or an undo is at work, or was cut short",
    "object-gone": "a mesh object was deleted",
    "object-changed": "a mesh object says something else than the migration wrote",
    "conflict": "an object of somebody else's keeps ours from its effect, or takes it over",
    "workload-gone": "a workload that was migrated is not there any more",
    "url-changed": "a URL is not what the migration made of it",
    "alias-lost": "the host's alias is gone: it fails closed no longer",
    "copy-gone": "the copy of a ConfigMap or Secret that the pods read is not there",
    "original-changed": "the original ConfigMap or Secret has changed since it was copied: the pods do not see it",
    "original-gone": "the original ConfigMap or Secret was deleted: undo would point at nothing",
    "rule-missing": "a proxy does not originate TLS for the host",
    "unread": "a proxy, a journal or a type of object could not be read",
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One host in one namespace: what its journal says, and what has drifted since."""

    journal: Journal
    drifts: tuple[Drift, ...]
    proxies: int = 0
    """How many were asked."""
    passing: frozenset[Ref] = frozenset()
    """The callers that pass the host's alias by."""

    @property
    def host(self) -> Host:
        """What was migrated."""
        return self.journal.host

    @property
    def fails(self) -> str:
        """What a request does without its sidecar, of the worst caller: `closed`, `guarded` or `open`; empty where it encrypts."""
        if self.journal.named:
            return ""
        unclosed = self.passing if self.journal.alias else frozenset(self.callers)
        if self.journal.alias and not unclosed:
            return "closed"
        guards = {record.ref.name for record in self.journal.mesh if record.ref.kind == "NetworkPolicy"}
        return "guarded" if guards and {mesh.guard_name(self.host, one) for one in unclosed} <= guards else "open"

    @property
    def callers(self) -> tuple[Ref, ...]:
        """The workloads that were changed."""
        return tuple(caller.workload for caller in self.journal.callers)


@dataclass(frozen=True, slots=True)
class Migrations:
    """Every migration that was found, and the journals that nobody can read."""

    namespace: str
    """Empty: all namespaces."""
    items: tuple[Migration, ...]
    unread: tuple[Drift, ...] = ()

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """All of them."""
        return (*self.unread, *(drift for item in self.items for drift in item.drifts))
