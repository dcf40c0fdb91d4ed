"""Kubeconfig files as kubectl finds, merges and chooses from them; nothing of the client is imported."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from kubectl_egress.errors import EgressError

SECTIONS = {"clusters": "cluster", "contexts": "context", "users": "user"}
"""The lists of a kubeconfig, and under which key each entry of them holds its settings."""

# Settings that are files, relative to the kubeconfig that they stand in.
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
# The pure-Python loader takes 10 ms for a kubeconfig with certificates in it.
_Loader: type[yaml.SafeLoader] = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))

Settings = Mapping[str, Any]
Files = Mapping[str, Settings]
"""The kubeconfigs that are there, by their paths; the first one wins."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What applies: the settings of a cluster and of a user, with their files as absolute paths."""

    cluster: str
    user: str
    namespace: str
    cluster_settings: Settings
    user_settings: Settings


def read_files(kubeconfig: str) -> Files:
    """The flag's file, which must exist; else those of $KUBECONFIG, else ~/.kube/config, as far as they are there.

    Raises EgressError for one that is no kubeconfig.
    """
    return {path: document for path in _paths(kubeconfig) if (document := _read(path))}


def names(files: Files, section: str) -> tuple[str, ...]:
    """The names of a section's entries, each once, in the order in which they stand."""
    return tuple(dict.fromkeys(str(entry["name"]) for one in files.values() for entry in one.get(section) or ()))


def choose(files: Files, context: str, cluster: str, user: str, server: str = "") -> Choice:
    """Which cluster, user and namespace: the flags over the context over the current context.

    `server`: the flag's, which needs no cluster. Raises EgressError, in kubectl's words, for what is not there.
    """
    name = context or next((str(one["current-context"]) for one in files.values() if one.get("current-context")), "")
    if not name and not cluster and not server:
        raise EgressError(
            f"current-context is not set in {os.pathsep.join(files)}",
            "kubectl config use-context NAME, or give --context NAME" + _existing(files, "contexts", ""),
        )
    settings = _entry(files, "contexts", name, f"context was not found for specified context: {name}") if name else {}
    cluster = cluster or str(settings.get("cluster") or "")
    user = user or str(settings.get("user") or "")
    cluster_settings = _entry(files, "clusters", cluster, f'no server found for cluster "{cluster}"', optional=server)
    if not server and not cluster_settings.get("server"):
        raise EgressError(f'no server found for cluster "{cluster}"', remedy(files))
    user_settings = _entry(files, "users", user, f'auth info "{user}" does not exist') if user else {}
    return Choice(cluster, user, str(settings.get("namespace") or "default"), cluster_settings, user_settings)


def remedy(files: Iterable[str]) -> str:
    """What to do about a kubeconfig that is broken."""
    return f"mend {os.pathsep.join(files)}, or give --kubeconfig FILE or --context NAME; kubectl config view shows it"


def line(exception: object) -> str:
    """An exception's text on one line."""
    return " ".join(str(exception).split())


def _paths(kubeconfig: str) -> list[str]:
    """The kubeconfig files that exist, first wins; the flag's one has to be there."""
    if kubeconfig:
        if not os.path.isfile(os.path.expanduser(kubeconfig)):
            raise EgressError(f"stat {kubeconfig}: no such file or directory", "give --kubeconfig a file that is there")
        return [os.path.expanduser(kubeconfig)]
    listed = os.environ.get("KUBECONFIG", "")
    found = listed.split(os.pathsep) if listed else ["~/.kube/config"]
    return [path for name in found if name and os.path.isfile(path := os.path.expanduser(name))]


def _read(path: str) -> Settings:
    """One file, checked as far as the rest trusts it."""
    try:
        with open(path, encoding="utf-8") as file:
            # Both are safe loaders.
            document = yaml.load(file, Loader=_Loader)
    except yaml.YAMLError as exception:
        # Its text may quote the file, and so a token.
        mark = getattr(exception, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise EgressError(f'error loading config file "{path}": not YAML{place}', remedy([path])) from None
    except (OSError, UnicodeDecodeError) as exception:
        raise EgressError(f'error loading config file "{path}": {line(exception)}', remedy([path])) from exception
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(_well_formed(document.get(name), SECTIONS[name]) for name in SECTIONS):
        raise EgressError(f'error loading config file "{path}": not a kubeconfig', remedy([path]))
    return document


def _well_formed(section: object, key: str) -> bool:
    """Whether it is absent, or a list of mappings that have a name and settings."""
    return section is None or (
        isinstance(section, list)
        and all(isinstance(one, dict) and "name" in one and isinstance(one.get(key) or {}, dict) for one in section)
    )


def _entry(files: Files, section: str, name: str, missing: str, optional: str = "") -> Settings:
    """The named entry of a section; the first file that has it wins. Raises EgressError unless it is optional."""
    key = SECTIONS[section]
    for path, document in files.items():
        for entry in document.get(section) or ():
            if entry["name"] == name:
                return _placed(entry.get(key) or {}, os.path.dirname(os.path.abspath(path)))
    if optional:
        return {}
    raise EgressError(missing, f"kubectl config get-{section} lists what there is" + _existing(files, section, name))


def _placed(settings: Settings, directory: str) -> Settings:
    """The settings with their files, and an exec plugin that is given by its path, as absolute paths."""
    placed = {
        key: os.path.normpath(os.path.join(directory, value)) if key in _FILES and value else value
        for key, value in settings.items()
    }
    plugin = placed.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        placed["exec"] = {**plugin, "command": os.path.join(directory, str(plugin["command"]))}
    return placed


def _existing(files: Files, section: str, name: str) -> str:
    """The names that come nearest to `name`, or the first few, as the end of a remedy."""
    there = names(files, section)
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or there[:5]
    return f"; there is {', '.join(near)}" if near else ""
