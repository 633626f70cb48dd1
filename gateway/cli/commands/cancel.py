"""``cancel``: a job that has not ended."""

from __future__ import annotations

import click

from gateway.cli.connection import Connection, client_command
from gateway.cli.formatting import print_json
from gateway.cli.job_ids import whole_id


@click.command()
@click.argument("job_id", metavar="JOB")
@client_command
async def command(connection: Connection, job_id: str) -> None:
    """Cancel a job that has not ended. What is in the cache by then stays there.

    Exit code: 0 cancelled, 5 refused (there is no such job, or it has ended).

    \b
    Example:
      teamcache-gateway cancel 6bb4629b-1487-477c-96fe-b762d82a099b
    """
    job_id = await whole_id(connection.client, job_id)
    await connection.client.cancel(job_id)
    if connection.as_json:
        print_json({"id": job_id, "status": "cancelled"})
    else:
        click.echo(f"Job {job_id} is cancelled.")
