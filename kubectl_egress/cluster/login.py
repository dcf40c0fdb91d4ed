"""Who asks which server: kubeconfig, the flags laid over it as kubectl does it, and the client's own loader."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import urllib3
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, kube_config

from kubectl_egress.cluster.kubeconfig import Choice, Settings, choose, line, read_files, remedy
from kubectl_egress.cluster.options import ConnectionOptions
from kubectl_egress.errors import EgressError, ForbiddenError, UsageError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CHOSEN = "chosen"
# What http.IsTokenChar allows, less the percent sign, which is what others are written with (client-go `legalHeaderByte`).
_HEADER_KEY = "!#$&'*+-.^_`|~"

# The client's loaders have no annotations.
_load_in_cluster: Any = config.load_incluster_config
_KubeConfig: Any = kube_config.KubeConfigLoader

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Login:
    """What kubeconfig and flags, or the pod's service account, come to."""

    configuration: Configuration
    namespace: str
    headers: Headers = ()
    """Impersonation."""


def load_login(options: ConnectionOptions) -> Login:
    """Find and read the kubeconfig, lay the flags over it; without any, take the service account of our own pod.

    Raises UsageError for flags that do not go together, EgressError for what is missing or broken, and ForbiddenError
    for credentials that cannot be had.
    """
    files = read_files(options.kubeconfig)
    if not files and not options.server:
        return _in_cluster(options)
    chosen = choose(files, options.context, options.cluster, options.user, options.server)
    cluster, user = _cluster(chosen.cluster_settings, options), _user(chosen.user_settings, options)
    headers = tuple(_impersonation(user, chosen.user))
    _check(chosen, cluster, user)
    configuration = Configuration()
    with _logged_errors() as logged:
        try:
            _loader(cluster, user).load_and_set(configuration)
        except ConfigException as exception:
            # `Expected key K in …` goes on with the whole entry, tokens and all.
            message = re.sub(r"(Expected key \S+) in .*", r"\1", line(exception))
            raise EgressError(f"kubeconfig: {message}", remedy(files)) from None
        except (ValueError, OSError) as exception:
            # Base64 that is none, a token file that may not be read.
            raise EgressError(f"kubeconfig: unusable credentials: {line(exception)}", remedy(files)) from exception
    _check_plugin(user, configuration, logged)
    _choose_proxy(configuration, cluster)
    return Login(configuration, chosen.namespace, headers)


def _in_cluster(options: ConnectionOptions) -> Login:
    """The service account of the pod that we run in; not if an entry of a kubeconfig is named."""
    named = options.context or options.cluster or options.user
    headers = tuple(_impersonation(_user({}, options), "the service account"))
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
    _choose_proxy(configuration, {})
    return Login(configuration, namespace.read_text().strip() if namespace.is_file() else "default", headers)


def _cluster(settings: Settings, options: ConnectionOptions) -> dict[str, Any]:
    """A cluster's settings with the flags over them (client-go tools/clientcmd, `getCluster`)."""
    merged = dict(settings)
    if options.insecure_skip_tls_verify or options.certificate_authority:
        for key in ("certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify"):
            merged.pop(key, None)
        merged |= _given(
            {
                "certificate-authority": _path(options.certificate_authority),
                "insecure-skip-tls-verify": options.insecure_skip_tls_verify,
            }
        )
    if options.tls_server_name or options.server:
        # The kubeconfig's name was meant for the kubeconfig's server.
        merged.pop("tls-server-name", None)
    merged |= _given({"server": options.server, "tls-server-name": options.tls_server_name})
    # `data` wins, and an empty one is none.
    merged = {key: value for key, value in merged.items() if value != ""}
    merged["server"] = _url(merged)
    return merged


def _user(settings: Settings, options: ConnectionOptions) -> dict[str, Any]:
    """A user's settings with the flags over them; what is left unused is taken out."""
    merged = dict(settings)
    if options.client_certificate:
        merged.pop("client-certificate-data", None)
    if options.client_key:
        merged.pop("client-key-data", None)
    if options.token:
        # A token that is given on the command line goes before whatever would give one.
        for key in ("tokenFile", "exec", "auth-provider"):
            merged.pop(key, None)
    merged |= _given(
        {
            "client-certificate": _path(options.client_certificate),
            "client-key": _path(options.client_key),
            "token": options.token,
            "as": options.as_user,
            "as-uid": options.as_uid,
            "as-groups": list(options.as_groups),
        }
    )
    extra: dict[str, list[str]] = {}
    for one in options.as_user_extra:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise UsageError(f"--as-user-extra {one} is not KEY=VALUE", "for example: --as-user-extra reason=audit")
        extra.setdefault(key, []).append(value)
    merged["as-user-extra"] = {**(merged.get("as-user-extra") or {}), **extra}
    return merged


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value}


def _path(name: str) -> str:
    """A flag's file is relative to the working directory, a kubeconfig's to the kubeconfig."""
    return os.path.abspath(name) if name else ""


def _url(cluster: Settings) -> str:
    """The server's address; without a scheme, https if anything of TLS is set (client-go rest, `DefaultServerURL`)."""
    server = str(cluster["server"])
    if "://" in server:
        return server
    secure = any(key.startswith(("certificate-authority", "insecure-skip", "tls-server-name")) for key in cluster)
    return f"{'https' if secure else 'http'}://{server}"


def _impersonation(user: Settings, name: str) -> Iterator[tuple[str, str]]:
    """The headers of `as`, `as-uid`, `as-groups` and `as-user-extra`, which the client does not know."""
    if user.get("as"):
        yield "Impersonate-User", str(user["as"])
    elif user.get("as-uid") or user.get("as-groups") or user.get("as-user-extra"):
        raise UsageError(
            f"requesting uid, groups or user-extra for {name} without impersonating a user",
            "say which user to impersonate: --as USER --as-group GROUP",
        )
    if user.get("as-uid"):
        yield "Impersonate-Uid", str(user["as-uid"])
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", str(group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(str(key), safe=_HEADER_KEY)}", str(value)


def _check(chosen: Choice, cluster: Settings, user: dict[str, Any]) -> None:
    """What client-go refuses (`validateClusterInfo`, `validateAuthInfo`), and credentials that would leave in clear."""
    authority = cluster.get("certificate-authority") or cluster.get("certificate-authority-data")
    if cluster.get("insecure-skip-tls-verify") and authority:
        raise UsageError(
            "specifying a root certificates file with the insecure flag is not allowed",
            "leave out either --insecure-skip-tls-verify or the certificate authority",
        )
    _check_file(cluster, "certificate-authority", "certificate-authority", chosen.cluster)
    _check_file(user, "client-certificate", "client-cert", chosen.user)
    _check_file(user, "client-key", "client-key", chosen.user)
    if _has(user, "client-certificate") and not _has(user, "client-key"):
        raise EgressError(
            f"client-key-data or client-key must be specified for {chosen.user} to use the clientCert authentication "
            "method.",
            "give the certificate's key: --client-key FILE, or client-key in the kubeconfig",
        )
    if not cluster["server"].startswith("https://"):
        # Like kubectl: credentials are for servers that TLS has shown to be who they are.
        for key in ("token", "tokenFile", "exec", "auth-provider", "username", "password"):
            user.pop(key, None)


def _has(settings: Settings, key: str) -> bool:
    return bool(settings.get(key) or settings.get(f"{key}-data"))


def _check_file(settings: Settings, key: str, word: str, owner: str) -> None:
    """Raise EgressError in kubectl's words if the file of a setting cannot be opened, and no data stands for it."""
    name = settings.get(key)
    if not name or settings.get(f"{key}-data"):
        return
    try:
        with open(name, "rb"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EgressError(
            f"unable to read {word} {name} for {owner} due to open {name}: {reason}",
            f"give a file that is there with --{key}, or mend the kubeconfig",
        ) from error


def _loader(cluster: Settings, user: Settings) -> Any:
    """The client's own loader, on a kubeconfig that holds what was chosen and nothing else."""
    document = {
        "contexts": [{"name": _CHOSEN, "context": {"cluster": _CHOSEN, "user": _CHOSEN}}],
        "clusters": [{"name": _CHOSEN, "cluster": dict(cluster)}],
        "users": [{"name": _CHOSEN, "user": {**user, **_token(user)}}],
    }
    return _KubeConfig(document, active_context=_CHOSEN, config_base_path="")


def _token(user: Settings) -> dict[str, str]:
    """The token of a token file, whose last newline would not go into a header."""
    if user.get("token") or not user.get("tokenFile"):
        return {}
    return {"token": Path(user["tokenFile"]).read_text(encoding="utf-8").strip()}


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


def _check_plugin(user: Settings, configuration: Configuration, logged: Sequence[str]) -> None:
    """Raise ForbiddenError where an exec plugin gave nothing: without it, we would ask as nobody."""
    plugin = user.get("exec")
    if not isinstance(plugin, dict) or configuration.api_key or configuration.cert_file:
        return
    command = str(plugin.get("command") or "")
    reason = line(logged[0]) if logged else "it gave no credentials"
    if "[Errno 2]" in reason:
        reason = f"executable {command} not found"
    elif "NoneType" in reason:
        # The client's own slip on a terminal, where the plugin's words were already shown.
        reason = f"{command} failed"
    elif command:
        reason = f"{command}: {reason.removeprefix('exec: ')}"
    hint = line(plugin.get("installHint") or "")
    raise ForbiddenError(
        f"getting credentials: exec: {reason}",
        hint or f"run the login command of {command} again, or choose another user with --user or --context",
        status=401,
        reason="Unauthorized",
    )


def _choose_proxy(configuration: Configuration, cluster: Settings) -> None:
    """The proxy as Go chooses it: kubeconfig's always; the environment's by two variables, and never to this machine.

    The client would also take ALL_PROXY and macOS's own settings, and let NO_PROXY overrule the kubeconfig.
    """
    given = cluster.get("proxy-url")
    scheme, host = configuration.host.partition("://")[0], urlsplit(configuration.host).hostname or ""
    configuration.no_proxy = None if given else _environment("no_proxy")
    configuration.proxy = given or (None if _is_loopback(host) else _environment(f"{scheme}_proxy"))
    credentials = urllib3.util.parse_url(configuration.proxy).auth if configuration.proxy else None
    if credentials:
        # The client leaves what stands in the address out.
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=unquote(credentials))


def _environment(name: str) -> str | None:
    return os.environ.get(name.upper()) or os.environ.get(name) or None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
