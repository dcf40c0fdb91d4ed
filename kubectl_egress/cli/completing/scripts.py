"""`kubectl egress completion`: the scripts by which shells complete `kubectl-egress`, and kubectl `kubectl egress`."""

from __future__ import annotations

from typing import Annotated

import typer

from kubectl_egress.cli.output import emit
from kubectl_egress.errors import UsageError

SHELLS = {
    "bash": "complete.bash",
    "zsh": "complete.zsh",
    "fish": "complete.fish",
    "powershell": "complete.ps1",
    "kubectl": "kubectl_complete-egress",
}


def completion(
    shell: Annotated[
        str, typer.Argument(metavar="bash|zsh|fish|powershell|kubectl", help="For which shell.", show_default=False)
    ],
) -> int:
    """Output shell completion code for the specified shell.

    kubectl (1.26 or later) completes `kubectl egress` by a program kubectl_complete-egress, which pip, pipx and uv install
    and Krew cannot: `completion kubectl` is that program. The others are for the plugin's own name, kubectl-egress.

    \b
    Examples:
      kubectl egress completion kubectl > ~/.local/bin/kubectl_complete-egress && chmod +x ~/.local/bin/kubectl_complete-egress
      kubectl egress completion bash > ~/.local/share/bash-completion/completions/kubectl-egress
      kubectl egress completion zsh > "${fpath[1]}/_kubectl-egress"
      kubectl egress completion fish > ~/.config/fish/completions/kubectl-egress.fish
      kubectl egress completion powershell >> $PROFILE
    """
    if shell not in SHELLS:
        raise UsageError(f'unsupported shell type "{shell}"', f"one of {', '.join(SHELLS)}")
    # Here, because it takes as long to import as a command's own module.
    from importlib.resources import files

    emit(files(__package__).joinpath(SHELLS[shell]).read_text(encoding="utf-8"))
    return 0
