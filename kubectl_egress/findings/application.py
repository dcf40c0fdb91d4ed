"""What the application itself does with its connections, and the sidecar would not: proxies, certificates, trust."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kubectl_egress import mesh
from kubectl_egress.findings.scope import Caller, Found, Scope
from kubectl_egress.findings.settings import (
    Setting,
    calling_containers,
    command_lines,
    environment,
    has_option,
    jvm_options,
)
from kubectl_egress.model import Host

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GLOBAL_AGENT_HTTP_PROXY", "GLOBAL_AGENT_HTTPS_PROXY")
_CURL_PROXY = ("--proxy", "--preproxy", "--proxy1.0", "--socks4", "--socks4a", "--socks5", "--socks5-hostname")
_JVM_PROXY = re.compile(r"-D(https?\.proxyHost|socksProxyHost)=")
_JVM_EXCEPT = re.compile(r"""-Dhttp\.nonProxyHosts=["']?([^\s"']+)""")

_TRUST = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
)
# Where distributions keep the public CAs (istio pkg/security/security.go has the same list): no CA of one's own.
_PUBLIC_BUNDLES = (
    "/etc/ssl/certs",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
)
_NO_CHECK = {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "PYTHONHTTPSVERIFY": "0", "GIT_SSL_NO_VERIFY": "true"}
_STRICTER = ("--pinnedpubkey", "--crlfile", "--cert-status")
_KEEP = "name them: --ca FILE|configmap/NAME, or the sidecar would check by the public CAs"


# ---- own-proxy ------------------------------------------------------------------------------------------------------


def own_proxy(scope: Scope, caller: Caller) -> Iterator[Found]:
    """A proxy of the application's own applies to the host: `http://` would go to that proxy, in clear."""
    for host in caller.hosts:
        for steps, container in calling_containers(caller, [host]):
            name = str(container.get("name", ""))
            variables = environment(scope, caller, steps, container)
            jvm = jvm_options(container, variables)
            set_here = [key for key in variables if key.upper() in _PROXIES and variables[key].value != ""]
            if set_here and not _excluded(variables, host):
                setting = variables[set_here[0]]
                yield Found(
                    f"container {name} sets {', '.join(set_here)}: http:// would go to that proxy in clear",
                    f"add {host.name} to NO_PROXY of container {name}",
                    caller.ref,
                    host,
                    setting.object,
                    setting.steps,
                )
            option = _JVM_PROXY.search(jvm)
            if option and not _excluded_by_jvm(jvm, host):
                yield Found(
                    f"the JVM of container {name} has -D{option[1]}: http:// would go to that proxy in clear",
                    f"add {host.name} to -Dhttp.nonProxyHosts of container {name}",
                    caller.ref,
                    host,
                    steps=steps,
                )
        for line in command_lines(scope, caller, host):
            if has_option(line, "x", *_CURL_PROXY):
                message = "a command calls it through a proxy of its own: http:// would go to that proxy in clear"
                remedy = "take -x/--proxy out of the command, or leave this workload on https"
                yield Found(message, remedy, caller.ref, host, line.object, line.steps)


def _excluded(variables: Mapping[str, Setting], host: Host) -> bool:
    """Whether NO_PROXY takes the host out, as curl, Go and Python read it: a name stands for what is below it too."""
    values = [setting.value or "" for key, setting in variables.items() if key.upper() == "NO_PROXY"]
    for item in re.split(r"[,\s]+", ",".join(values).lower()):
        name, _, port = item.partition(":")
        suffix = name.removeprefix("*").lstrip(".")
        if port not in ("", str(mesh.CLEAR_PORT)):
            continue
        below = suffix != "" and host.name.endswith(f".{suffix}")
        if item == "*" or below or (host.name == suffix and not name.startswith((".", "*"))):
            return True
    return False


def _excluded_by_jvm(options: str, host: Host) -> bool:
    """Whether `http.nonProxyHosts` takes the host out (java.net: `|` between names, `*` at either end)."""
    found = _JVM_EXCEPT.search(options)
    patterns = found[1].split("|") if found else []
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*"), host.name, re.IGNORECASE) for one in patterns)


def _checked_by_ca(scope: Scope, host: Host) -> bool:
    """Whether the sidecar checks the host by CAs that a user has named, now or in an earlier run."""
    known = (one.host == host and one.origination.ca for one in scope.journals)
    return bool(scope.origination.ca) or any(known)


def _shows_certificate(scope: Scope, host: Host) -> bool:
    """Whether the sidecar shows the host a client certificate."""
    known = (one.host == host and one.origination.client_secret for one in scope.journals)
    return bool(scope.origination.client_secret) or any(known)


# ---- own-trust ------------------------------------------------------------------------------------------------------


def own_trust(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The application names its own CA, or checks none: the sidecar would check by the public CAs."""
    hosts = [host for host in caller.hosts if not _checked_by_ca(scope, host)]
    for steps, container in calling_containers(caller, hosts):
        name = str(container.get("name", ""))
        variables = environment(scope, caller, steps, container)
        for key, setting in sorted(variables.items()):
            if key in _TRUST and setting.value != "" and (setting.value or "").rstrip("/") not in _PUBLIC_BUNDLES:
                message = f"container {name} trusts CAs of its own ({key})"
                remedy = f"remove {key} if public CAs vouch for its hosts; otherwise {_KEEP}"
                yield Found(message, remedy, caller.ref, None, setting.object, setting.steps)
            elif key in _NO_CHECK and setting.value == _NO_CHECK[key]:
                message = f"container {name} checks no certificate ({key}={setting.value}), and the sidecar will"
                yield Found(
                    message,
                    f"remove {key}, and see that the calls still work",
                    caller.ref,
                    None,
                    setting.object,
                    setting.steps,
                )
        if "-Djavax.net.ssl.trustStore=" in jvm_options(container, variables):
            message = f"the JVM of container {name} trusts CAs of its own (javax.net.ssl.trustStore)"
            remedy = f"remove the option if public CAs vouch for its hosts; otherwise {_KEEP}"
            yield Found(message, remedy, caller.ref, None, None, steps)
    for host in caller.hosts:
        yield from _trust_of_commands(scope, caller, host)


def _trust_of_commands(scope: Scope, caller: Caller, host: Host) -> Iterator[Found]:
    named = _checked_by_ca(scope, host)
    for line in command_lines(scope, caller, host):
        if not named and has_option(line, "k", "--insecure", "--no-check-certificate"):
            message = "a command calls it without checking its certificate (-k), and the sidecar will check"
            remedy = "take -k/--insecure out of the command, and see that the call still works"
        elif not named and has_option(line, "", "--cacert", "--capath", "--ca-certificate", "--ca-directory"):
            message = "a command calls it with a CA of its own"
            remedy = f"take --cacert/--capath out if public CAs vouch for the host; otherwise {_KEEP}"
        elif has_option(line, "", *_STRICTER):
            message = "a command checks more of the certificate than the sidecar will (a pinned key, a CRL, OCSP)"
            remedy = "leave this workload on https, or take the option out of the command"
        else:
            continue
        yield Found(message, remedy, caller.ref, host, line.object, line.steps)


# ---- client-certificate ---------------------------------------------------------------------------------------------


def client_certificate(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The application shows a certificate of its own, which the sidecar does not have."""
    remedy = "name it: --client-secret NAME, a Secret of type kubernetes.io/tls; or leave this workload on https"
    hosts = [host for host in caller.hosts if not _shows_certificate(scope, host)]
    for host in hosts:
        for line in command_lines(scope, caller, host):
            if has_option(line, "E", "--cert", "--certificate", "--private-key", "--key"):
                yield Found(
                    "a command shows the host a client certificate", remedy, caller.ref, host, line.object, line.steps
                )
    for steps, container in calling_containers(caller, hosts):
        options = jvm_options(container, environment(scope, caller, steps, container))
        if "-Djavax.net.ssl.keyStore=" in options:
            message = f"the JVM of container {container.get('name')} shows client certificates (javax.net.ssl.keyStore)"
            yield Found(message, remedy, caller.ref, steps=steps)
