"""How the sidecar is to call the hosts that are migrated: options of `migrate`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kubectl_egress.cli.authorities import config_map_named
from kubectl_egress.cli.options import said_again
from kubectl_egress.errors import UsageError

if TYPE_CHECKING:
    from kubectl_egress.model import Origination

MODES = ("full", "named")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Calls:
    """What is asked of the sidecar beyond the same as before."""

    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="full|named",
            help='"full" originates TLS and rewrites callers; "named" adds a ServiceEntry alone, for callers that cannot change.',
        ),
    ] = "full"
    retries: Annotated[
        int | None,
        typer.Option(
            "--retries",
            metavar="N",
            min=0,
            help="Let the sidecar send a request again that no server has read, up to N times.",
            show_default=False,
        ),
    ] = None
    route_timeout: Annotated[
        str, typer.Option("--route-timeout", metavar="TIME", help="How long a request may take.", show_default=False)
    ] = ""
    http2: Annotated[bool, typer.Option("--http2", help="Let the sidecar speak HTTP/2 to the server (gRPC).")] = False
    hold: Annotated[
        bool, typer.Option("--hold", help="Start the application after its proxy (holdApplicationUntilProxyStarts).")
    ] = False
    alias: Annotated[
        str,
        typer.Option(
            "--alias",
            metavar="NAME",
            help="Let http://NAME reach the host as well: a Service without pods, and a route that writes the host's name.",
            show_default=False,
        ),
    ] = ""
    ca: Annotated[
        str,
        typer.Option(
            "--ca",
            metavar="FILE|configmap/NAME",
            help="Check the server by these CAs, which are mounted into the sidecars first, in a rollout of their own.",
            show_default=False,
        ),
    ] = ""
    client_secret: Annotated[
        str,
        typer.Option(
            "--client-secret",
            metavar="NAME",
            help="Show the server the certificate of this Secret (type kubernetes.io/tls), mounted likewise.",
            show_default=False,
        ),
    ] = ""
    ipv6: Annotated[
        bool,
        typer.Option(
            "--ipv6", help="With -f: the pods have IPv6 addresses, so that they need an alias of that family too."
        ),
    ] = False
    guard: Annotated[
        bool,
        typer.Option(
            "--guard",
            help="Add a NetworkPolicy that lets the callers' pods reach port 80 inside the cluster alone, where no alias can be had.",
        ),
    ] = False
    guard_cidr: Annotated[
        list[str],
        typer.Option(
            "--guard-cidr",
            metavar="CIDR",
            help="With --guard: what lies inside the cluster beside its pods, in place of its Service networks; may be repeated.",
            show_default=False,
        ),
    ] = field(default_factory=list)

    @property
    def named(self) -> bool:
        """Whether a name is all that the mesh is to have."""
        return self.mode == "named"

    def again(self) -> str:
        """The flags that ask the same of the sidecar once more, each with a blank before it."""
        given = {
            "--mode": [self.mode] if self.named else [],
            "--retries": [] if self.retries is None else [str(self.retries)],
            "--route-timeout": [self.route_timeout],
            "--alias": [self.alias],
            "--ca": [self.ca],
            "--client-secret": [self.client_secret],
            "--guard-cidr": self.guard_cidr,
        }
        return said_again(given, {"--http2": self.http2, "--hold": self.hold, "--guard": self.guard})

    def origination(self) -> dict[str, Any]:
        """What was given, by field of Origination."""
        found: dict[str, Any] = {}
        if self.retries is not None:
            found["retries"] = self.retries
        if self.route_timeout:
            found["route_timeout"] = duration(self.route_timeout)
        if self.http2:
            found["http2"] = True
        if self.alias:
            found["short_name"] = self.alias
        if config_map_named(self.ca):
            found["ca"] = config_map_named(self.ca)
        if self.client_secret:
            found["client_secret"] = self.client_secret
        return found

    @property
    def ca_file(self) -> str:
        """The file that `--ca` names; empty where it names none."""
        return "" if config_map_named(self.ca) else self.ca

    def asked(self) -> Origination:
        """What was given, and for the rest the same as before; the CAs of a file have no ConfigMap yet."""
        from kubectl_egress.model import AS_BEFORE

        given = {**self.origination(), **({"ca": self.ca_file} if self.ca_file else {})}
        return replace(AS_BEFORE, **given)

    def check(self) -> None:
        """UsageError for what does not fit together."""
        if self.alias and not _LABEL.fullmatch(self.alias):
            raise UsageError(
                f"--alias: {self.alias!r} is no name of a Service",
                "use lower-case letters, digits and hyphens: foo, partner-api",
            )
        if self.mode not in MODES:
            raise UsageError(f"invalid --mode value ({self.mode})", "it must be full or named")
        if self.guard_cidr and not self.guard:
            raise UsageError("--guard-cidr goes with --guard", "say --guard, or leave it out")
        for cidr in self.guard_cidr:
            check_network(cidr)
        if self.client_secret and not _NAME.fullmatch(self.client_secret):
            raise UsageError(f"--client-secret: {self.client_secret!r} is no name of a Secret", "give its name alone")
        if self.named and (self.origination() or self.ca or self.hold or self.guard):
            raise UsageError(
                "--retries, --route-timeout, --http2, --hold, --guard, --ca, --client-secret and --alias do not go with --mode named",
                "with a name alone, the application itself calls the server, as before",
            )


def check_network(text: str) -> None:
    """UsageError for what is no network in the notation of the API, or is everywhere."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(f"--guard-cidr: {error}", "write it like 10.96.0.0/12 or fd00::/108") from error
    if not network.prefixlen:
        raise UsageError(
            f"--guard-cidr: {text} is everywhere, so that nothing would be guarded", "name the cluster's own networks"
        )


def duration(text: str) -> str:
    """A duration of the command line as Istio writes it: `1500ms` → `1.5s`. UsageError for what is none."""
    from kubectl_egress.cluster.connection import parse_timeout

    try:
        seconds = parse_timeout(text) or 0.0
    except UsageError as error:
        raise UsageError(
            f'invalid argument "{text}" for "--route-timeout" flag',
            "use a number of seconds, or one with a unit: 1s, 2m, 3h",
        ) from error
    return f"{seconds:g}s"
