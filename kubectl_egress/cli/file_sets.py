"""What `migrate -f` reads: manifests, the kustomizations that take them in, and the files from which these generate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_egress import files as disk
from kubectl_egress import inspection, manifests
from kubectl_egress.cli.options import Files, Reading
from kubectl_egress.cli.sources import read_documents, survey_documents, with_lines
from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests import Kustomization
from kubectl_egress.model import SOURCE_KINDS, CallSite, Document, Ref, Survey
from kubectl_egress.places import Forced, Place

_LEVELS = 4
"""How many directories up a kustomization may be that names a file."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """All that was read."""

    texts: Mapping[str, str]
    documents: tuple[Document, ...]
    kustomizations: tuple[Kustomization, ...] = ()
    places: tuple[Place, ...] = ()
    """What `--path` adds to the table of places."""
    forced: tuple[Forced, ...] = ()
    """What `--force` says."""
    with_secrets: bool = False

    def with_more(self, more: Mapping[str, str]) -> FileSet:
        """The same with manifests that were found beside them."""
        documents = [one for file, text in more.items() for one in manifests.parse(text, file)]
        return replace(self, texts={**self.texts, **more}, documents=(*self.documents, *documents))

    def read(self, namespace: str, default: str) -> tuple[Survey, tuple[CallSite, ...]]:
        """What the objects of one namespace are and call; `default` is that of objects which name none.

        An overlay's ConfigMap or Secret has the name of its base's: the workloads are looked at once with each of them.
        """
        mine = [one for one in self.documents if one.ref.namespace == namespace or one.ref.kind == "Namespace"]
        found: dict[object, CallSite] = {}
        for variant in _variants(mine):
            survey = survey_documents(variant, namespace or default, self.places, with_secrets=self.with_secrets)
            sites = inspection.call_sites(survey, self.places, self.forced)
            for site in with_lines(sites, variant, self.texts, default):
                place = (site.spot, site.object, site.steps) if site.spot is None else (site.spot,)
                found.setdefault((site.workload, place, site.url.start), site)
        survey = survey_documents(mine, namespace or default, self.places, with_secrets=self.with_secrets)
        return survey, tuple(found.values())


def _variants(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """The documents with one ConfigMap and one Secret of each name, until every one has been among them."""
    maps: dict[Ref, list[Document]] = {}
    for document in documents:
        if document.ref.kind in SOURCE_KINDS:
            maps.setdefault(document.ref, []).append(document)
    others = [document for document in documents if document.ref.kind not in SOURCE_KINDS]
    for number in range(max(map(len, maps.values()), default=1)):
        yield [*others, *(found[min(number, len(found) - 1)] for found in maps.values())]


def read_file_set(files: Files, reading: Reading) -> FileSet:
    """Read it all. ManifestError for what is missing, broken or a template."""
    places, forced = reading.places(), reading.forced()
    texts, documents = read_documents(files)
    found = dict(texts)
    near = dict.fromkeys(path for file in texts if file != "-" for path in _near(file))
    kustomizations = list(_kustomizations(texts))
    for one in _kustomizations(_read_more(near, found)):
        if any(os.path.normpath(file) in (*one.paths, *one.sources) or _beside(file, one) for file in texts):
            kustomizations.append(one)
    found |= _read_more([one.file for one in kustomizations], found)
    found |= _read_more([path for one in kustomizations for path in one.sources if os.path.exists(path)], found)
    generated = [document for one in kustomizations for document in one.generated(found)]
    return FileSet(
        found, (*documents, *generated), tuple(kustomizations), places, forced, with_secrets=reading.include_secrets
    )


def _kustomizations(texts: Mapping[str, str]) -> Iterator[Kustomization]:
    for file, text in texts.items():
        found = manifests.read_kustomization(text, file)
        if found is not None:
            yield found


def _near(file: str) -> Iterator[str]:
    """The kustomizations that may take a file in: beside it, or some directories up within the repository."""
    directory = os.path.dirname(file) or "."
    for _ in range(_LEVELS):
        yield from (os.path.join(directory, name).removeprefix("./") for name in manifests.FILE_NAMES)
        if os.path.exists(os.path.join(directory, ".git")) or os.path.realpath(directory) == "/":
            return
        directory = os.path.normpath(os.path.join(directory, ".."))


def _beside(file: str, kustomization: Kustomization) -> bool:
    return os.path.realpath(os.path.dirname(file) or ".") == os.path.realpath(kustomization.directory or ".")


def _read_more(paths: Sequence[str] | Mapping[str, None], known: Mapping[str, str]) -> dict[str, str]:
    there = {os.path.realpath(file) for file in known if file != "-"}
    wanted = [path for path in paths if os.path.isfile(path) and os.path.realpath(path) not in there]
    if not wanted:
        return {}
    return {one.file: one.text for one in disk.read(wanted, False, sys.stdin.buffer)}


# ---- charts ---------------------------------------------------------------------------------------------------------


def chart_advice(error: ManifestError, files: Files, hosts: Sequence[str]) -> ManifestError:
    """For a template of a Helm chart: the same error, with the places in the chart that name the hosts."""
    file = error.message.partition(":")[0]
    chart = _chart_of(file)
    if chart is None:
        return error
    places = list(_places(chart, hosts))
    if not places:
        return error
    shown = ", ".join(places[:6]) + (", …" if len(places) > 6 else "")
    return ManifestError(
        f"{error.message}; it is written by hand in {shown}",
        f"change it there to http://, add hostAliases to the pod template, and the objects that kubectl egress migrate "
        f"{hosts[0] if hosts else 'HOST'} -o yaml prints: helm template {chart} | kubectl egress migrate … -f - shows all of it",
    )


def _chart_of(file: str) -> str | None:
    directory = os.path.dirname(file)
    while directory:
        if os.path.isfile(os.path.join(directory, "Chart.yaml")):
            return directory
        directory = os.path.dirname(directory)
    return "." if os.path.isfile("Chart.yaml") else None


def _places(chart: str, hosts: Sequence[str]) -> Iterator[str]:
    """`values.yaml:3 (.api.url)` where a value holds a URL of the hosts, `templates/x.yaml:7` where a template does."""
    from kubectl_egress.paths import kubectl_path
    from kubectl_egress.urls import find_urls

    paths = sorted(os.path.join(root, name) for root, _, names in os.walk(chart) for name in names)
    for path in paths:
        name = os.path.relpath(path, chart)
        if not path.endswith((".yaml", ".yml", ".tpl", ".json")):
            continue
        text = disk.read([path], False, sys.stdin.buffer)[0].text
        found = [url for url in find_urls(text) if url.encrypted and (not hosts or str(url.host) in hosts)]
        keys = _keys(text) if os.path.basename(path).startswith("values") else {}
        for line in sorted({text.count("\n", 0, url.start) + 1 for url in found}):
            yield f"{name}:{line}" + (f" ({kubectl_path(keys[line])})" if line in keys else "")


def _keys(text: str) -> dict[int, tuple[str | int, ...]]:
    """The value that begins in each line."""
    from kubectl_egress.paths import walk_strings

    try:
        body = manifests.value(text)
    except ManifestError:
        return {}
    addresses = [(0, steps) for steps, _ in walk_strings(body)]
    return {line: steps for (_, steps), line in manifests.lines(text, addresses).items()}
