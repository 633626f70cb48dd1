"""``completion``: a script for the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "teamcache-gateway"
VARIABLE = "_TEAMCACHE_GATEWAY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes the shell complete commands and options.

    \b
    Examples:
      eval "$(teamcache-gateway completion bash)"    # in ~/.bashrc
      eval "$(teamcache-gateway completion zsh)"     # in ~/.zshrc
      teamcache-gateway completion fish | source     # in fish's config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click knows all three
        raise click.UsageError(f"{shell} is not known")
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
