"""What server and client say to each other, and would not say, or not understand, once the sidecar stands between them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_egress import paths
from kubectl_egress.findings.scope import Caller, Found, Scope
from kubectl_egress.findings.settings import (
    JVM_VARIABLES,
    CommandLine,
    command_lines,
    environment,
    has_option,
    has_value,
    jvm_options,
)
from kubectl_egress.model import Host, ProxySnapshot, Severity, Steps
from kubectl_egress.proxy.routing import concerns as counted_for

_REDIRECTS = ("301", "302", "307", "308")
_OWN_SCHEMES = ("--proto", "--hsts")
_HTTP2 = ("--http2", "--http2-prior-knowledge", "--http3", "--http3-only")
_GRPC_CLIENT = re.compile(r"(?<![\w./-])(?:[\w./-]*/)?(grpcurl|grpc_cli|ghz)(?![\w.-])")
_OLD_TLS = ("--sslv2", "--sslv3")
_OLD_CLIENT = re.compile(r"(?<![\w./-])(?:[\w./-]*/)?(ab)\s")  # ApacheBench speaks HTTP/1.0 alone
_JVM_TLS = re.compile(r"-D(?:https\.protocols|jdk\.tls\.client\.protocols)=(\S+)")
_MODERN = re.compile(r"TLSv1\.[23]")


# ---- https-redirect -------------------------------------------------------------------------------------------------


def https_redirect(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The server answers plain HTTP by a redirect, or the client refuses plain HTTP."""
    for host in caller.hosts:
        codes = sorted({code for proxy in _proxies(scope, caller) for code in _redirects(proxy, host)})
        if codes:
            yield Found(
                f"the host has answered plain HTTP from its pods with a redirect ({', '.join(codes)})",
                "see where to: one to https:// at the same path would lead the client back past the sidecar's TLS",
                caller.ref,
                host,
            )
        for line in command_lines(scope, caller, host):
            allowed = has_value(line, "--proto")
            if allowed and not _allows_http(allowed):
                yield Found(
                    f"a command calls it with --proto{_of(line, allowed)}, which refuses http://",
                    "take --proto out of the command, or let it hold http",
                    caller.ref,
                    host,
                    line.object,
                    line.steps,
                    Severity.BLOCK,
                )
            elif has_option(line, "", "--hsts"):
                yield Found(
                    "a command calls it with --hsts: curl may turn http:// into https:// by itself",
                    "take --hsts out of the command",
                    caller.ref,
                    host,
                    line.object,
                    line.steps,
                )


def _of(line: CommandLine, value: str) -> str:
    """An option's value, as it may be shown: nothing of a script in a Secret."""
    return "" if line.object.kind == "Secret" else f" {value}"


def _allows_http(protocols: str) -> bool:
    """curl's `--proto`: `=https`, `-all,https`, `-http` refuse it; `+ftp` and the like do not."""
    allowed = True
    for item in protocols.strip("\"'").lower().split(","):
        sign, name = (item[0], item[1:]) if item[:1] in "+-=" else ("+", item)
        if sign == "=":
            allowed = name in ("http", "all")
        elif name in ("http", "all"):
            allowed = sign == "+"
    return allowed


def _redirects(proxy: ProxySnapshot, host: Host) -> Iterator[str]:
    for series in proxy.requests:
        if series.code in _REDIRECTS and series.count and counted_for(host, series.service):
            yield series.code


def _proxies(scope: Scope, caller: Caller) -> Iterator[ProxySnapshot]:
    pods = {(caller.ref.namespace, pod["metadata"]["name"]) for pod in caller.pods}
    for ref, proxy in scope.survey.proxies.items():
        if (ref.namespace, ref.name) in pods and isinstance(proxy, ProxySnapshot):
            yield proxy


# ---- needs-http2 ----------------------------------------------------------------------------------------------------


def needs_http2(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The client asks for HTTP/2 (gRPC always does), and the sidecar would speak HTTP/1.1 to the server."""
    if scope.origination.http2:
        return
    remedy = "migrate with --http2: the sidecar then speaks HTTP/2 to the server"
    for host in caller.hosts:
        for line in command_lines(scope, caller, host):
            if has_option(line, "", *_HTTP2):
                yield Found("a command asks the host for HTTP/2", remedy, caller.ref, host, line.object, line.steps)
        for steps, sign in _grpc(caller, host):
            yield Found(f"it seems to call the host by gRPC ({sign})", remedy, caller.ref, host, steps=steps)


def _grpc(caller: Caller, host: Host) -> Iterator[tuple[Steps, str]]:
    target = re.compile(rf"(?<![\w.-])(grpcs?://|dns:///){re.escape(host.name)}(?![\w-]|\.\w)", re.I)
    for steps, container in caller.containers():
        words = " ".join(str(word) for field in ("command", "args") for word in container.get(field) or ())
        client = _GRPC_CLIENT.search(words)
        if client and host.name in words.lower():
            yield (*steps, "command" if container.get("command") else "args"), client[1]
        for inner, text in paths.walk_strings({field: container.get(field) for field in ("command", "args", "env")}):
            found = target.search(text)
            if found:
                yield (*steps, *inner), found[1]


# ---- old-protocol ---------------------------------------------------------------------------------------------------


def old_protocol(scope: Scope, caller: Caller) -> Iterator[Found]:
    """HTTP/1.0, which the sidecar answers with 426; TLS below 1.2, which it does not speak."""
    for host in caller.hosts:
        for line in command_lines(scope, caller, host):
            if has_option(line, "0", "--http1.0", "--http0.9"):
                what, remedy = "with HTTP/1.0, which the sidecar answers with 426", "take -0/--http1.0 out of it"
            elif has_option(line, "", *_OLD_TLS) or (has_value(line, "--tls-max") or "1.3") < "1.2":
                what, remedy = (
                    "with TLS below 1.2, which the sidecar does not speak",
                    "see that the server speaks TLS 1.2 or 1.3",
                )
            else:
                continue
            yield Found(f"a command calls it {what}", remedy, caller.ref, host, line.object, line.steps)
        for steps, container in caller.containers():
            words = " ".join(str(word) for field in ("command", "args") for word in container.get(field) or ())
            if _OLD_CLIENT.search(words) and host.name in words.lower():
                yield Found(
                    f"container {container.get('name')} calls it with ab, which speaks HTTP/1.0: the sidecar answers 426",
                    "use a client that speaks HTTP/1.1",
                    caller.ref,
                    host,
                    steps=(*steps, "command" if container.get("command") else "args"),
                )
    for steps, container in caller.containers():
        variables = environment(scope, caller, steps, container)
        protocols = _JVM_TLS.search(jvm_options(container, variables))
        if protocols and not _MODERN.search(protocols[1]):
            hidden = any(variables[name].object.kind == "Secret" for name in JVM_VARIABLES if name in variables)
            spoken = "old TLS" if hidden else protocols[1]
            yield Found(
                f"the JVM of container {container.get('name')} speaks {spoken} alone, the sidecar TLS 1.2 and 1.3",
                "see that the server speaks TLS 1.2 or 1.3",
                caller.ref,
                steps=steps,
            )
