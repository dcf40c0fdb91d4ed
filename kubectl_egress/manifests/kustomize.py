"""Kustomizations: what they take in, the ConfigMaps that they generate, and one resource more in their text."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress.manifests.adding import add
from kubectl_egress.manifests.nodes import compose, objects_of
from kubectl_egress.manifests.values import Values
from kubectl_egress.model import Document, Ref, Spot, Steps

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_TAKES_IN = ("resources", "bases", "components", "patches", "patchesStrategicMerge", "patchesJson6902")
_GENERATOR = "configMapGenerator"
WHOLE_FILE = -1


@dataclass(frozen=True, slots=True)
class Kustomization:
    """One `kustomization.yaml`, as far as it matters here."""

    file: str
    document: int
    """Which document of the file, from 0."""
    body: Mapping[str, Any]

    @property
    def directory(self) -> str:
        """Where its paths begin."""
        return os.path.dirname(self.file)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files and directories that it takes in, as paths from where we are; those of the network too."""
        return self._named(*_TAKES_IN)

    @property
    def resources(self) -> tuple[str, ...]:
        """Those of them that hold whole objects, and not patches."""
        return self._named("resources", "bases", "components")

    def _named(self, *fields: str) -> tuple[str, ...]:
        named: list[str] = []
        for field in fields:
            for entry in self.body.get(field) or ():
                path = entry.get("path") if isinstance(entry, Mapping) else entry
                if isinstance(path, str) and "\n" not in path:
                    named.append(os.path.normpath(os.path.join(self.directory, path)))
        return tuple(named)

    @property
    def sources(self) -> tuple[str, ...]:
        """The files from which it generates ConfigMaps."""
        return tuple(file for generator in self._generators() for _, file in _files(self.directory, generator))

    def _generators(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(one for one in self.body.get(_GENERATOR) or () if isinstance(one, Mapping) and one.get("name"))

    def generated(self, texts: Mapping[str, str]) -> Iterator[Document]:
        """The ConfigMaps that it generates, under the names that workloads use; `texts` of `sources`, by file.

        kustomize reads literals as `KEY=VALUE`, quotes around the value taken off, files whole, and env files line by
        line (api/kv/kv.go).
        """
        for number, generator in enumerate(self.body.get(_GENERATOR) or ()):
            if isinstance(generator, Mapping) and generator.get("name"):
                values, spots = self._values(number, generator, texts)
                namespace = str(generator.get("namespace") or "")  # the kustomization's own comes to all objects alike
                name = str(generator["name"])
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}
                yield Document(Ref("ConfigMap", namespace, name, "v1"), body, self.file, 1, self.document, spots)

    def _values(
        self, number: int, generator: Mapping[str, Any], texts: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[Steps, Spot]]:
        values: dict[str, str] = {}
        spots: dict[Steps, Spot] = {}
        for position, literal in enumerate(generator.get("literals") or ()):
            key, equals, value = str(literal).partition("=")
            if equals:
                quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
                values[key] = value[1:-1] if quoted else value
                steps = (_GENERATOR, number, "literals", position)
                spots["data", key] = Spot(self.file, self.document, steps, len(key) + 1 + quoted)
        for name, file in _files(self.directory, generator):
            text = texts.get(file, "")
            if name:
                values[name] = text
                spots["data", name] = Spot(file, WHOLE_FILE)
            else:
                for key, value, offset in _lines(text):
                    values[key] = value
                    spots["data", key] = Spot(file, WHOLE_FILE, (), offset)
        return values, spots


def _files(directory: str, generator: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, path): of `files`, and without key of env files."""
    for entry in generator.get("files") or ():
        key, equals, path = str(entry).partition("=")
        path = path if equals else key
        yield key if equals else posixpath.basename(path), os.path.normpath(os.path.join(directory, path))
    for path in [*(generator.get("envs") or ()), *([generator["env"]] if generator.get("env") else [])]:
        yield "", os.path.normpath(os.path.join(directory, str(path)))


def _lines(text: str) -> Iterator[tuple[str, str, int]]:
    """Key, value and the value's offset of each line of an env file."""
    offset = 0
    for whole in text.splitlines(keepends=True):
        line = whole.rstrip("\r\n")
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            yield key.strip(), value, offset + len(key) + 1
        offset += len(whole)


def read_kustomization(text: str, file: str) -> Kustomization | None:
    """The kustomization of a file that is named like one; None for any other file. ManifestError for broken YAML."""
    if os.path.basename(file) not in FILE_NAMES:
        return None
    for index, node in enumerate(objects_of(compose(text, file))):
        body = Values(text, file).value(node)
        if isinstance(body, dict):
            return Kustomization(file, index, body)
    return Kustomization(file, 0, {})


def add_resource(text: str, kustomization: Kustomization, name: str) -> str:
    """The kustomization's text with a resource more, which goes first: a line is added. ManifestError where none can be."""
    present = list(kustomization.body.get("resources") or ())
    if not kustomization.body:
        return f"{text}resources:\n- {name}\n"
    return add(text, kustomization.document, {**kustomization.body, "resources": [name, *present]})
