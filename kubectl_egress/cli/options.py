"""The flags that commands share, with kubectl's names, meaning and help texts; each class is a group (see `command`)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kubectl_egress.cluster import ConnectionOptions
    from kubectl_egress.places import Forced, Place

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="deploy/curl, 'deployment curl' or deploy,sts; none means every workload of the namespace.",
        show_default=False,
    ),
]


def _text(*names: str, metavar: str, text: str) -> object:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


Namespace = Annotated[
    str, _text("-n", "--namespace", metavar="NAME", text="If present, the namespace scope for this CLI request")
]

AllNamespaces = Annotated[
    bool,
    typer.Option(
        "-A",
        "--all-namespaces",
        help="If present, list the requested object(s) across all namespaces. Namespace in current context is "
        "ignored even if specified with --namespace.",
    ),
]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects."""

    namespace: Namespace = ""
    all_namespaces: AllNamespaces = False
    selector: Annotated[
        str,
        _text(
            "-l",
            "--selector",
            metavar="QUERY",
            text="Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'. Matching objects must "
            "satisfy all of the specified label constraints.",
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class Files:
    """Manifests as the source, in place of the cluster."""

    filename: Annotated[
        list[str],
        _text(
            "-f",
            "--filename",
            metavar="FILE",
            text="Filename, directory, or '-' for stdin, of manifests that are read in place of the cluster",
        ),
    ] = field(default_factory=list)
    recursive: Annotated[
        bool,
        typer.Option(
            "-R",
            "--recursive",
            help="Process the directory used in -f, --filename recursively. Useful when you want to manage related "
            "manifests organized within the same directory.",
        ),
    ] = False


def said_again(given: Mapping[str, Sequence[str]], switches: Mapping[str, bool]) -> str:
    """Flags as they would be typed for the same once more, each with a blank before it; empty values and what is off left out."""
    words = "".join(f" {flag} {shlex.quote(one)}" for flag, values in given.items() for one in values if one)
    return words + "".join(f" {flag}" for flag, on in switches.items() if on)


@dataclass(frozen=True, slots=True)
class Reading:
    """What counts as a call, beyond the tables."""

    path: Annotated[
        list[str],
        _text(
            "--path",
            metavar="KIND:JSONPATH",
            text="Look there too, in objects of this kind: 'Rollout.argoproj.io:spec.template.spec.containers[*].env[*].value'; "
            "may be repeated.",
        ),
    ] = field(default_factory=list)
    force: Annotated[
        list[str],
        _text(
            "--force",
            metavar="HOST=PATH",
            text="Count a URL as a call although it looks like an identifier; may be repeated.",
        ),
    ] = field(default_factory=list)

    include_secrets: Annotated[
        bool,
        typer.Option(
            "--include-secrets",
            help="Read the Secrets that pod templates name, too, one by one; no value of them is ever shown.",
        ),
    ] = False

    def again(self) -> str:
        """The flags that have another command count the same as calls, each with a blank before it."""
        return said_again({"--path": self.path, "--force": self.force}, {"--include-secrets": self.include_secrets})

    def places(self) -> tuple[Place, ...]:
        """What `--path` adds to the table of places; UsageError for what is none."""
        from kubectl_egress.places import parse_place

        return tuple(parse_place(text) for text in self.path)

    def forced(self) -> tuple[Forced, ...]:
        """What `--force` says; UsageError for what names no host and path."""
        from kubectl_egress.places import parse_forced

        return tuple(parse_forced(text) for text in self.force)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the cluster, and as whom."""

    context: Annotated[str, _text("--context", metavar="NAME", text="The name of the kubeconfig context to use")] = ""
    kubeconfig: Annotated[
        str, _text("--kubeconfig", metavar="FILE", text="Path to the kubeconfig file to use for CLI requests.")
    ] = ""
    cluster: Annotated[str, _text("--cluster", metavar="NAME", text="The name of the kubeconfig cluster to use")] = ""
    user: Annotated[str, _text("--user", metavar="NAME", text="The name of the kubeconfig user to use")] = ""
    server: Annotated[
        str, _text("-s", "--server", metavar="URL", text="The address and port of the Kubernetes API server")
    ] = ""
    token: Annotated[
        str, _text("--token", metavar="TOKEN", text="Bearer token for authentication to the API server")
    ] = ""
    certificate_authority: Annotated[
        str, _text("--certificate-authority", metavar="FILE", text="Path to a cert file for the certificate authority")
    ] = ""
    client_certificate: Annotated[
        str, _text("--client-certificate", metavar="FILE", text="Path to a client certificate file for TLS")
    ] = ""
    client_key: Annotated[str, _text("--client-key", metavar="FILE", text="Path to a client key file for TLS")] = ""
    tls_server_name: Annotated[
        str,
        _text(
            "--tls-server-name",
            metavar="NAME",
            text="Server name to use for server certificate validation. If it is not provided, the hostname used to "
            "contact the server is used",
        ),
    ] = ""
    insecure_skip_tls_verify: Annotated[
        bool,
        typer.Option(
            "--insecure-skip-tls-verify",
            help="If true, the server's certificate will not be checked for validity. This will make your HTTPS "
            "connections insecure",
        ),
    ] = False
    as_user: Annotated[
        str,
        _text(
            "--as",
            metavar="USER",
            text="Username to impersonate for the operation. User could be a regular user or a service account in a "
            "namespace.",
        ),
    ] = ""
    as_uid: Annotated[str, _text("--as-uid", metavar="UID", text="UID to impersonate for the operation.")] = ""
    as_group: Annotated[
        list[str],
        _text(
            "--as-group",
            metavar="GROUP",
            text="Group to impersonate for the operation, this flag can be repeated to specify multiple groups.",
        ),
    ] = field(default_factory=list)
    as_user_extra: Annotated[
        list[str],
        _text(
            "--as-user-extra",
            metavar="KEY=VALUE",
            text="User extras to impersonate for the operation, this flag can be repeated to specify multiple values "
            "for the same key.",
        ),
    ] = field(default_factory=list)
    request_timeout: Annotated[
        str,
        _text(
            "--request-timeout",
            metavar="TIME",
            text="The length of time to wait before giving up on a single server request. Non-zero values should "
            "contain a corresponding time unit (e.g. 1s, 2m, 3h). A value of zero means don't timeout requests.",
        ),
    ] = "0"
    disable_compression: Annotated[
        bool,
        typer.Option(
            "--disable-compression",
            help="If true, opt-out of response compression for all requests to the server",
        ),
    ] = False
    cache_dir: Annotated[
        str, _text("--cache-dir", metavar="DIR", text="Default cache directory (this tool keeps no cache)")
    ] = ""
    verbosity: Annotated[
        int, typer.Option("-v", "--v", metavar="LEVEL", help="number for the log level verbosity", show_default=False)
    ] = 0

    def again(self) -> str:
        """The flags that lead another command to the same cluster as the same user, each with a blank before it.

        Without the token, which is nothing to show: whoever gave it can give it again.
        """
        given = {
            "--kubeconfig": [self.kubeconfig],
            "--context": [self.context],
            "--cluster": [self.cluster],
            "--user": [self.user],
            "--server": [self.server],
            "--certificate-authority": [self.certificate_authority],
            "--client-certificate": [self.client_certificate],
            "--client-key": [self.client_key],
            "--tls-server-name": [self.tls_server_name],
            "--as": [self.as_user],
            "--as-uid": [self.as_uid],
            "--as-group": self.as_group,
            "--as-user-extra": self.as_user_extra,
        }
        return said_again(given, {"--insecure-skip-tls-verify": self.insecure_skip_tls_verify})

    def options(self, namespace: str = "", field_manager: str = "kubectl-egress") -> ConnectionOptions:
        """As the cluster edge takes them; sets the log level, since this is where the talk begins."""
        from kubectl_egress.cli.output import log_level
        from kubectl_egress.cluster import ConnectionOptions

        log_level(self.verbosity)
        return ConnectionOptions(
            kubeconfig=self.kubeconfig,
            context=self.context,
            cluster=self.cluster,
            user=self.user,
            namespace=namespace,
            server=self.server,
            token=self.token,
            certificate_authority=self.certificate_authority,
            client_certificate=self.client_certificate,
            client_key=self.client_key,
            tls_server_name=self.tls_server_name,
            insecure_skip_tls_verify=self.insecure_skip_tls_verify,
            as_user=self.as_user,
            as_uid=self.as_uid,
            as_groups=tuple(self.as_group),
            as_user_extra=tuple(self.as_user_extra),
            request_timeout=self.request_timeout,
            disable_compression=self.disable_compression,
            field_manager=field_manager,
        )


@dataclass(frozen=True, slots=True)
class History:
    """Whether to ask Prometheus too, and over how long."""

    prometheus: Annotated[
        str,
        _text(
            "--prometheus",
            metavar="WHERE",
            text="Ask Prometheus too: a URL, NAMESPACE/SERVICE[:PORT] by way of the API server, or auto to look for it.",
        ),
    ] = ""
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="How far back to ask Prometheus (e.g. 5m, 1h, 24h).")
    ] = "5m"


FieldManager = Annotated[
    str,
    typer.Option("--field-manager", metavar="NAME", help="Name of the manager used to track field ownership."),
]

Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do it without asking.")]


def output_option(*formats: str) -> object:
    """The `-o` of a command, as `Annotated[str, output_option("json", "yaml")]`."""
    listed = ", ".join(formats)
    return typer.Option(
        "-o", "--output", metavar="FORMAT", help=f"Output format. One of: ({listed}).", show_default=False
    )
