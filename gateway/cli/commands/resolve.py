"""``resolve``: what paths mean to the gateway."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.connection import Connection, client_command
from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import print_json, printable, printable_path
from gateway.cli.path_kinds import NOT_FOUND
from gateway.cli.path_lists import paths_argument
from gateway.client import GatewayClientError, ResolvedPathView
from gateway.formatting import readable_size


@click.command()
@paths_argument
@client_command
async def command(connection: Connection, paths: Sequence[str]) -> ExitCode | None:
    """Say what paths mean to the gateway, without caching anything.

    Each path is shown with what can be sent in its stead (behind the filespace's name where there
    are several), and whether the index knows it. Exit code: 0, or 5 if one of the paths is refused.

    \b
    Examples:
      teamcache-gateway resolve /Volumes/dmpfs/tc-east-1/00_Media
      teamcache-gateway resolve --from-file shots.txt --json \\
        | jq -r '.paths[].sendable' | teamcache-gateway submit -
    """
    try:
        found = await connection.client.resolve(paths)
    except GatewayClientError as error:
        if error.status != NOT_FOUND:
            raise
        raise GatewayClientError(
            "This gateway does not say what paths mean: it is older than this program, or the URL"
            " is not what stands before /api/v1",
            NOT_FOUND,
        ) from None
    if connection.as_json:
        print_json({"paths": found})
    else:
        for path in found:
            click.echo(f"{printable_path(path.path)}\n  {_meaning(path)}")
    return ExitCode.REFUSED if any(path.error for path in found) else None


def _meaning(path: ResolvedPathView) -> str:
    if path.error is not None:
        return f"✗ refused: {printable(path.error)}"
    size = "" if path.size is None else f", {readable_size(path.size)}"
    kind = path.kind or "unknown"
    indexed = "in the index" if path.indexed else "not in the index"
    rule = f", by the rule {path.rule}" if path.rule else ""
    what = "the whole filespace" if not path.resolved else kind
    where = printable_path(path.sendable or f"all of {path.filespace}")
    return f"→ {where}: {printable(f'{what}{size}, {indexed}{rule}')}"
