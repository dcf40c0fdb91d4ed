"""Kubeconfig as kubectl reads it: which server, whose credentials, which namespace."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, kube_config

from kubectl_egress.errors import EgressError, ForbiddenError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CHOSEN = "kubectl-egress: context, cluster and user as the flags say"
_SECTIONS = ("clusters", "contexts", "users")
# The pure-Python loader takes 10 ms for a kubeconfig with certificates in it.
_Loader: type[yaml.SafeLoader] = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))

# The client's loaders have no annotations.
_load_in_cluster: Any = config.load_incluster_config
_Merger: Any = kube_config.KubeConfigMerger
_KubeConfig: Any = kube_config.KubeConfigLoader

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Login:
    """What kubeconfig, or the pod's service account, says."""

    configuration: Configuration
    namespace: str
    headers: Headers = ()
    """Impersonation that the kubeconfig's user entry asks for."""


def load_login(kubeconfig: str, context: str, cluster: str, user: str) -> Login:
    """Find and read the kubeconfig; without any, take the service account of the pod that we run in.

    `kubeconfig`: the flag's file, which must exist; else the list in $KUBECONFIG, else ~/.kube/config.
    `context`, `cluster`, `user`: names in it that replace the current ones; empty for none.
    Raises EgressError for what is missing or broken, and ForbiddenError for credentials that cannot be had.
    """
    files = {path: document for path in _paths(kubeconfig) if (document := _read(path))}
    if not files:
        return _in_cluster(context or cluster or user)
    chosen = _choose(files, context, cluster, user)
    configuration = Configuration()
    with _logged_errors() as logged:
        try:
            _loader(files, chosen).load_and_set(configuration)
        except ConfigException as exception:
            # `Expected key K in …` goes on with the whole entry, tokens and all.
            message = re.sub(r"(Expected key \S+) in .*", r"\1", _line(exception))
            raise EgressError(f"kubeconfig: {message}", _remedy(files)) from None
        except (ValueError, OSError) as exception:
            # Base64 that is none, a certificate file that may not be read.
            raise EgressError(f"kubeconfig: unusable credentials: {_line(exception)}", _remedy(files)) from exception
    _check_credentials(chosen, configuration, logged)
    return Login(configuration, chosen.namespace, chosen.headers)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which entries apply, after the flags."""

    cluster: str
    user: str
    namespace: str
    headers: Headers
    exec_command: str
    """The command of the user's exec plugin, or empty."""


def _paths(kubeconfig: str) -> list[str]:
    """The kubeconfig files that exist, first wins; the flag's one has to be there."""
    if kubeconfig:
        if not os.path.isfile(os.path.expanduser(kubeconfig)):
            raise EgressError(f"stat {kubeconfig}: no such file or directory", "give --kubeconfig a file that is there")
        return [os.path.expanduser(kubeconfig)]
    listed = os.environ.get("KUBECONFIG", "")
    names = listed.split(os.pathsep) if listed else ["~/.kube/config"]
    return [path for name in names if name and os.path.isfile(path := os.path.expanduser(name))]


def _in_cluster(named: str) -> Login:
    """The service account of the pod that we run in; not if an entry of a kubeconfig is named."""
    configuration = Configuration()
    try:
        if named:
            raise ConfigException(f"{named} is not in any kubeconfig")
        _load_in_cluster(client_configuration=configuration)
    except ConfigException as exception:
        listed = os.environ.get("KUBECONFIG", "")
        found = f"so there is no {named}" if named else "and this is not a pod of a cluster"
        raise EgressError(
            f"no kubeconfig: {listed or '~/.kube/config'} does not exist, {found}",
            "set KUBECONFIG, or give --kubeconfig FILE; for manifests without a cluster, give -f FILE",
        ) from exception
    namespace = _SERVICE_ACCOUNT / "namespace"
    return Login(configuration, namespace.read_text().strip() if namespace.is_file() else "default")


def _read(path: str) -> Mapping[str, Any]:
    """One file, checked as far as the client's merger trusts it blindly."""
    try:
        with open(path, encoding="utf-8") as file:
            # Both are safe loaders.
            document = yaml.load(file, Loader=_Loader)
    except yaml.YAMLError as exception:
        # Its text may quote the file, and so a token.
        mark = getattr(exception, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise EgressError(f'error loading config file "{path}": not YAML{place}', _remedy([path])) from None
    except (OSError, UnicodeDecodeError) as exception:
        raise EgressError(f'error loading config file "{path}": {_line(exception)}', _remedy([path])) from exception
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(_named(document.get(section)) for section in _SECTIONS):
        raise EgressError(f'error loading config file "{path}": not a kubeconfig', _remedy([path]))
    return cast("Mapping[str, Any]", document)


def _named(section: object) -> bool:
    """Whether it is absent, or a list of mappings that have a name."""
    return section is None or (
        isinstance(section, list) and all(isinstance(entry, dict) and "name" in entry for entry in section)
    )


def _choose(files: Mapping[str, Mapping[str, Any]], context: str, cluster: str, user: str) -> _Choice:
    """Which cluster, user and namespace: the flags over the context over the current context."""
    documents = list(files.values())
    name = context or next((str(d["current-context"]) for d in documents if d.get("current-context")), "")
    if not name and not cluster:
        raise EgressError(
            f"current-context is not set in {os.pathsep.join(files)}",
            "kubectl config use-context NAME, or give --context NAME" + _existing(documents, "contexts", ""),
        )
    settings = _entry(documents, "contexts", name, "context") if name else {}
    cluster = cluster or str(settings.get("cluster") or "")
    user = user or str(settings.get("user") or "")
    if not _entry(documents, "clusters", cluster, "cluster").get("server"):
        raise EgressError(f'cluster "{cluster}" has no server', _remedy(files))
    credentials = _entry(documents, "users", user, "auth info", "user") if user else {}
    plugin = credentials.get("exec") or {}
    return _Choice(
        cluster,
        user,
        str(settings.get("namespace") or "default"),
        tuple(_impersonation(credentials)),
        str(plugin.get("command") or "") if isinstance(plugin, dict) else "",
    )


def _entry(
    documents: Sequence[Mapping[str, Any]], section: str, name: str, word: str, key: str = ""
) -> Mapping[str, Any]:
    """The named entry of a section; the first file that has it wins. Raises EgressError in kubectl's words."""
    for document in documents:
        for entry in document.get(section) or ():
            if entry["name"] == name:
                return entry.get(key or word) or {}
    raise EgressError(
        f'{word} "{name}" does not exist',
        f"kubectl config get-{section} lists what there is" + _existing(documents, section, name),
    )


def _existing(documents: Sequence[Mapping[str, Any]], section: str, name: str) -> str:
    """The names that come nearest to `name`, or the first few, as the end of a remedy."""
    names = list(dict.fromkeys(str(entry["name"]) for document in documents for entry in document.get(section) or ()))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
    return f"; there is {', '.join(near)}" if near else ""


def _impersonation(credentials: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The user entry's `as`, `as-uid`, `as-groups`, `as-user-extra`, which the client does not read."""
    if credentials.get("as"):
        yield "Impersonate-User", str(credentials["as"])
    if credentials.get("as-uid"):
        yield "Impersonate-Uid", str(credentials["as-uid"])
    for group in credentials.get("as-groups") or ():
        yield "Impersonate-Group", str(group)
    for key, values in (credentials.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{key}", str(value)


def _loader(paths: Iterable[str], chosen: _Choice) -> Any:
    """The client's own loader, on a context that says what was chosen."""
    merger = _Merger(os.pathsep.join(paths))
    context = {"name": _CHOSEN, "context": {"cluster": chosen.cluster, "user": chosen.user}}
    merger.config.value["contexts"].append(context)
    return _KubeConfig(merger.config, active_context=_CHOSEN, config_base_path=None)


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect what the loader logs: a failing exec plugin is logged and otherwise ignored by it."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    root, collector = logging.getLogger(), Collector(logging.ERROR)
    root.addHandler(collector)
    try:
        yield messages
    finally:
        root.removeHandler(collector)


def _check_credentials(chosen: _Choice, configuration: Configuration, logged: Sequence[str]) -> None:
    """Raise ForbiddenError where an exec plugin gave nothing: without it, we would ask as nobody."""
    if chosen.exec_command and not configuration.api_key and not configuration.cert_file:
        reason = _line(logged[0]) if logged else "it gave no credentials"
        if "[Errno 2]" in reason:
            reason = "executable not found"
        elif "NoneType" in reason:
            # The client's own slip on a terminal, where the plugin's words were already shown.
            reason = "it failed"
        raise ForbiddenError(
            f"getting credentials: exec: {chosen.exec_command}: {reason}",
            f"run the login command of {chosen.exec_command} again, or choose another user with --user or --context",
            status=401,
            reason="Unauthorized",
        )


def _line(exception: object) -> str:
    """An exception's text on one line."""
    return " ".join(str(exception).split())


def _remedy(paths: Iterable[str]) -> str:
    return f"mend {os.pathsep.join(paths)}, or give --kubeconfig FILE or --context NAME; kubectl config view shows it"
