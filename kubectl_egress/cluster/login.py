"""Who asks which server: kubeconfig, and the flags laid over it as kubectl does it."""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import urllib3

from kubectl_egress.cluster import tls
from kubectl_egress.cluster.access import Access, behind_proxy
from kubectl_egress.cluster.kubeconfig import Choice, Settings, choose, line, read_files, remedy
from kubectl_egress.cluster.options import ConnectionOptions
from kubectl_egress.errors import EgressError, UsageError

if TYPE_CHECKING:
    from kubectl_egress.cluster.renewal import Renewal

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What http.IsTokenChar allows, less the percent sign, which is what others are written with (client-go `legalHeaderByte`).
_HEADER_KEY = "!#$&'*+-.^_`|~"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Login:
    """What kubeconfig and flags, or the pod's service account, come to."""

    access: Access
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
    try:
        access = _access(cluster, user, remedy(files), attended=options.attended)
    except (ValueError, OSError) as exception:
        # Base64 that is none, a token file that may not be read.
        raise EgressError(f"kubeconfig: unusable credentials: {line(exception)}", remedy(files)) from exception
    return Login(behind_proxy(access, str(cluster.get("proxy-url") or "")), chosen.namespace, headers)


def _in_cluster(options: ConnectionOptions) -> Login:
    """The service account of the pod that we run in; not if an entry of a kubeconfig is named."""
    named = options.context or options.cluster or options.user
    headers = tuple(_impersonation(_user({}, options), "the service account"))
    access = None if named or not _SERVICE_ACCOUNT.is_dir() else _of_pod()
    if access is None:
        listed = os.environ.get("KUBECONFIG", "")
        found = f"so there is no {named}" if named else "and this is not a pod of a cluster"
        raise EgressError(
            f"no kubeconfig: {listed or '~/.kube/config'} does not exist, {found}",
            "set KUBECONFIG, or give --kubeconfig FILE; for manifests without a cluster, give -f FILE",
        )
    namespace = _SERVICE_ACCOUNT / "namespace"
    name = namespace.read_text().strip() if namespace.is_file() else "default"
    return Login(behind_proxy(access), name, headers)


def _of_pod() -> Access | None:
    from kubectl_egress.cluster.plugins import of_pod

    return of_pod()


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


def _access(cluster: Settings, user: Settings, mend: str, *, attended: bool) -> Access:
    """What the settings come to; `mend` is the remedy for those that are broken, `attended` as for `run_plugin`."""
    token = _token(user)
    if user.get("auth-provider"):
        from kubectl_egress.cluster.plugins import of_user

        return of_user(cluster, {**user, **_given({"token": token()})}, mend)
    server = cluster["server"].rstrip("/")
    if not server.startswith("https://"):
        return Access(server)
    context = tls.context(
        _pem(cluster, "certificate-authority"),
        _pem(user, "client-certificate"),
        _pem(user, "client-key"),
        verified=not cluster.get("insecure-skip-tls-verify"),
    )
    name = str(cluster.get("tls-server-name") or "")
    if user.get("exec") and not token():
        if not isinstance(user["exec"], dict):
            raise ValueError("exec is no mapping")
        renewal = _plugin(user["exec"], cluster, context, attended=attended)
        return Access(server, context, name, renewal.authorization, renewal)
    basic = _basic(user)
    return Access(
        server,
        context,
        name,
        lambda: f"Bearer {given}" if (given := token()) else basic,
    )


def _plugin(plugin: Settings, cluster: Settings, context: ssl.SSLContext, *, attended: bool) -> Renewal:
    from kubectl_egress.cluster.exec_plugins import Credential, run_plugin
    from kubectl_egress.cluster.renewal import Renewal

    def show(credential: Credential) -> None:
        if credential.certificate:
            tls.show(context, tls.Pem(credential.certificate), tls.Pem(credential.key))

    return Renewal(lambda: run_plugin(plugin, cluster, attended=attended), show)


def _pem(settings: Settings, key: str) -> tls.Pem:
    """What a setting holds, in base64, or else the file that it names."""
    data = settings.get(f"{key}-data")
    text = base64.b64decode(data or "").decode()
    if data and not text:
        raise ValueError(f"{key}-data is not PEM")
    return tls.Pem(text, settings.get(key) or "")


def _basic(user: Settings) -> str:
    """The header for a name and a password; empty for none."""
    if not (user.get("username") and user.get("password")):
        return ""
    return urllib3.make_headers(basic_auth=f"{user['username']}:{user['password']}")["authorization"]


def _token(user: Settings) -> Callable[[], str]:
    """What gives the token as it is now: of a file, which is replaced before it expires; empty for none.

    As client-go: a file that cannot be read any more leaves the last token. OSError or ValueError for one that never could.
    """
    token, name = str(user.get("token") or ""), user.get("tokenFile")
    if token or not name:
        return lambda: token

    def read() -> str:
        # A last newline would not go into a header.
        return Path(name).read_text(encoding="utf-8").strip()

    last = [read()]

    def renewed() -> str:
        with contextlib.suppress(OSError, ValueError):
            last[0] = read()
        return last[0]

    return renewed
