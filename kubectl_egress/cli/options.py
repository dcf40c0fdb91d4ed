"""The flags that commands share, with kubectl's names, meaning and help texts; each class is a group (see `command`)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kubectl_egress.cluster import ConnectionOptions

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


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects."""

    namespace: Namespace = ""
    all_namespaces: Annotated[
        bool,
        typer.Option(
            "-A",
            "--all-namespaces",
            help="If present, list the requested object(s) across all namespaces. Namespace in current context is "
            "ignored even if specified with --namespace.",
        ),
    ] = False
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


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the cluster, and as whom."""

    context: Annotated[str, _text("--context", metavar="NAME", text="The name of the kubeconfig context to use")] = ""
    kubeconfig: Annotated[
        str, _text("--kubeconfig", metavar="FILE", text="Path to the kubeconfig file to use for CLI requests.")
    ] = ""
    cluster: Annotated[str, _text("--cluster", metavar="NAME", text="The name of the kubeconfig cluster to use")] = ""
    user: Annotated[str, _text("--user", metavar="NAME", text="The name of the kubeconfig user to use")] = ""
    as_user: Annotated[
        str,
        _text(
            "--as",
            metavar="USER",
            text="Username to impersonate for the operation. User could be a regular user or a service account in a "
            "namespace.",
        ),
    ] = ""
    as_group: Annotated[
        list[str],
        _text(
            "--as-group",
            metavar="GROUP",
            text="Group to impersonate for the operation, this flag can be repeated to specify multiple groups.",
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
    verbosity: Annotated[
        int, typer.Option("-v", "--v", metavar="LEVEL", help="number for the log level verbosity", show_default=False)
    ] = 0

    def again(self) -> str:
        """The flags that lead another command to the same cluster as the same user, each with a blank before it."""
        given = {
            "--kubeconfig": [self.kubeconfig],
            "--context": [self.context],
            "--cluster": [self.cluster],
            "--user": [self.user],
            "--as": [self.as_user],
            "--as-group": self.as_group,
        }
        return "".join(f" {flag} {shlex.quote(one)}" for flag, values in given.items() for one in values if one)

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
            as_user=self.as_user,
            as_groups=tuple(self.as_group),
            request_timeout=self.request_timeout,
            field_manager=field_manager,
        )


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
