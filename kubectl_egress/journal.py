"""What a migration changed and what was there before: a ConfigMap per host, which is also the lock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from kubectl_egress.errors import EgressError
from kubectl_egress.model import AS_BEFORE, MANAGED_BY, MANAGED_BY_LABEL, Body, Edit, Host, Origination, Ref, Steps

JOURNAL_LABEL = "egress.kubectl/journal"
ORIGINAL_ANNOTATION = "egress.kubectl/original"
KEY = "journal.json"
LEASE_KEY = "lease.json"
FORMAT = 1
# With Secrets in it: who does not know of those would leave pods with http:// URLs, and take the mesh objects away.
FORMAT_WITH_SECRETS = 2


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """One URL, or one setting, that was rewritten: where, which one of the host's URLs in that string, and the splices."""

    object: Ref
    """The workload, or the original ConfigMap or Secret."""
    steps: Steps
    container: str
    entry: str
    ordinal: int
    """Which of the host's URLs in the string, from 0, whatever their scheme."""
    total: int
    """How many URLs of the host the string had."""
    edits: tuple[Edit, ...]
    """Offsets count from the start of the URL (or of the setting), so that they hold wherever it has moved."""
    setting: str | None = None
    """Of a call that several settings say: the name, in the string, of the one that was changed, and `ordinal` and `total` count
    those of that name; empty where the string is its value. None: it is a URL."""


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """A field of the pod template that names a ConfigMap or a Secret, and the original's name."""

    steps: Steps
    original: str
    kind: str = "ConfigMap"
    copy: str = ""
    """The name of our copy, which is ours whatever becomes of its label; Secrets are not even listed. Empty in older journals."""


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """An annotation of the pod template, whose value may be secret: hashes of what it was and is, and our splices."""

    key: str
    before: str | None
    """None: it was not there."""
    after: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class CallerRecord:
    """What was changed in one workload's pod template for the host."""

    workload: Ref
    sites: tuple[SiteRecord, ...]
    references: tuple[ReferenceRecord, ...] = ()
    annotations: tuple[AnnotationRecord, ...] = ()
    plain: int = 0
    """How many URLs of the host the template itself had in clear: those, an undo leaves."""


@dataclass(frozen=True, slots=True)
class MeshRecord:
    """One mesh object: what it was (None: it was not there) and what we made it."""

    ref: Ref
    before: Body | None
    after: Body


@dataclass(frozen=True, slots=True)
class Journal:
    """All that `undo` needs to know of one host in one namespace; holds no value that may be secret."""

    host: Host
    namespace: str
    phase: str
    """`migrating`, `migrated` or `undoing`."""
    run: str
    by: str
    started: str
    """UTC, ISO 8601."""
    alias: str
    """The address that the host's name leads to in the pods; empty where it fails open."""
    mesh: tuple[MeshRecord, ...] = ()
    callers: tuple[CallerRecord, ...] = ()
    baseline: Mapping[str, Any] | None = None
    origination: Origination = AS_BEFORE
    named: bool = False
    """Whether the mesh only knows the host by name, and its callers stay as they are."""

    @property
    def ref(self) -> Ref:
        """The ConfigMap that holds it."""
        return Ref("ConfigMap", self.namespace, journal_name(self.host), "v1")

    @property
    def secrets(self) -> frozenset[Ref]:
        """The Secrets that it names: originals, and every copy that was ever made."""
        found = set()
        for caller in self.callers:
            found |= {site.object for site in caller.sites if site.object.kind == "Secret"}
            for one in caller.references:
                for name in (one.original, one.copy) if one.kind == "Secret" else ():
                    found.add(Ref("Secret", caller.workload.namespace, name, "v1"))
        return frozenset(found)

    def caller(self, workload: Ref) -> CallerRecord | None:
        """The record of a workload, if it has one."""
        return next((caller for caller in self.callers if caller.workload == workload), None)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who is at work on the journal's host. Beside the journal, since a run renews it while it works."""

    run: str
    by: str
    since: str
    """UTC, ISO 8601, by the holder's clock: to be shown, never to be compared."""
    renewed: str


def lease_text(lease: Lease) -> str:
    """The lease as JSON."""
    return json.dumps(asdict(lease), sort_keys=True)


def lease_of(body: Body) -> Lease | None:
    """The lease in a journal's ConfigMap; None if no run holds it. What cannot be read is held by somebody unknown."""
    text = (body.get("data") or {}).get(LEASE_KEY)
    if text is None:
        return None
    try:
        return Lease(**json.loads(text))
    except (TypeError, ValueError):
        return Lease("unknown", "somebody unknown", "an unknown time", "")


def is_journal(body: Body | None) -> bool:
    """Whether the object is one of our own journals."""
    return body is not None and JOURNAL_LABEL in (body.get("metadata", {}).get("labels") or {})


def journal_name(host: Host) -> str:
    """The name of the host's journal: a DNS-1123 subdomain.

    One for each name, whatever the port: it is the lock, and the ports of a host share the mesh objects and the alias.
    """
    name = f"kubectl-egress.{host.name.replace('*', 'wildcard', 1).replace('_', '-')}"
    if len(name) <= 253 and "_" not in host.name:
        return name
    return f"{name[:236]}.{hashlib.sha256(host.name.encode()).hexdigest()[:16]}"


def merged(old: Journal, new: Journal) -> Journal:
    """`new` on top of `old`: what `old` says was there before is never replaced, what it lacks is added."""
    known = {record.ref for record in old.mesh}
    mesh = [
        next((replace(one, after=other.after) for other in new.mesh if other.ref == one.ref), one) for one in old.mesh
    ]
    mesh += [record for record in new.mesh if record.ref not in known]
    callers = []
    for record in old.callers:
        addition = new.caller(record.workload)
        callers.append(_merged_callers(record, addition) if addition else record)
    callers += [record for record in new.callers if old.caller(record.workload) is None]
    return replace(
        old,
        phase=new.phase,
        run=new.run,
        by=new.by,
        alias=old.alias or new.alias,
        mesh=tuple(mesh),
        callers=tuple(callers),
        origination=new.origination,
        named=new.named,
    )


def _merged_callers(old: CallerRecord, new: CallerRecord) -> CallerRecord:
    def address(site: SiteRecord) -> tuple[Ref, Steps, str | None, int]:
        return site.object, site.steps, site.setting, site.ordinal

    known = {address(site) for site in old.sites}
    sites = old.sites + tuple(site for site in new.sites if address(site) not in known)
    references = old.references + tuple(one for one in new.references if one not in old.references)
    keys = {one.key for one in old.annotations}
    annotations = old.annotations + tuple(one for one in new.annotations if one.key not in keys)
    return CallerRecord(old.workload, sites, references, annotations, old.plain)


def to_config_map(journal: Journal, lease: Lease | None = None) -> Body:
    """The ConfigMap as it is created."""
    held = {LEASE_KEY: lease_text(lease)} if lease else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": journal_name(journal.host),
            "namespace": journal.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, JOURNAL_LABEL: "true"},
        },
        "data": {KEY: to_text(journal), **held},
    }


def to_text(journal: Journal) -> str:
    """The journal as JSON."""
    number = FORMAT_WITH_SECRETS if journal.secrets else FORMAT
    return json.dumps({"format": number, **asdict(journal)}, indent=1, sort_keys=True)


def from_config_map(body: Body) -> Journal:
    """Read a journal back; EgressError when it was written by a later version or by somebody else."""
    name = body["metadata"]["name"]
    try:
        content = json.loads(body["data"][KEY])
        if content["format"] not in (FORMAT, FORMAT_WITH_SECRETS):
            raise EgressError(
                f"the journal {name} has format {content['format']}, and this version reads {FORMAT_WITH_SECRETS}",
                "use the version of kubectl egress that wrote it, or a later one",
            )
        return Journal(
            host=Host(**content["host"]),
            namespace=content["namespace"],
            phase=content["phase"],
            run=content["run"],
            by=content["by"],
            started=content["started"],
            alias=content["alias"],
            mesh=tuple(
                MeshRecord(Ref(**record["ref"]), record["before"], record["after"]) for record in content["mesh"]
            ),
            callers=tuple(_caller(record) for record in content["callers"]),
            baseline=content["baseline"],
            origination=Origination(**content.get("origination", {})),
            named=content.get("named", False),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EgressError(
            f"the journal {name} cannot be read: {error.__class__.__name__}: {error}",
            f"kubectl get configmap {name} -o yaml shows it; without it nothing is known of what was there before",
        ) from error


def _caller(record: Mapping[str, Any]) -> CallerRecord:
    return CallerRecord(
        Ref(**record["workload"]),
        tuple(
            SiteRecord(
                object=Ref(**site["object"]),
                steps=tuple(site["steps"]),
                container=site["container"],
                entry=site["entry"],
                ordinal=site["ordinal"],
                total=site["total"],
                edits=tuple(Edit(**edit) for edit in site["edits"]),
                setting=site.get("setting"),
            )
            for site in record["sites"]
        ),
        tuple(
            ReferenceRecord(tuple(one["steps"]), one["original"], one.get("kind", "ConfigMap"), one.get("copy", ""))
            for one in record["references"]
        ),
        tuple(
            AnnotationRecord(one["key"], one["before"], one["after"], tuple(Edit(**edit) for edit in one["edits"]))
            for one in record.get("annotations", ())
        ),
        record.get("plain", 0),
    )
