"""``smoke``: a live gateway, endpoint by endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from gateway.cli.commands.smoke_checks import READING, SUBMITTING, Check, Trial
from gateway.cli.commands.smoke_probe import NothingToLookAt, NotOffered, NotWorking, Probe
from gateway.cli.connection import Connection, client_command
from gateway.cli.credentials import ShownToken, Signing
from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import print_json, printable
from gateway.client import GatewayClientError
from gateway.client.signing import RequestSigner

WORKS, FAILS, NOT_OFFERED, NOT_TRIED = "works", "fails", "not offered", "not tried"
MARKS = {WORKS: ("✓", "green"), FAILS: ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a check."""

    name: str
    outcome: str
    note: str


@click.command()
@click.option("--submit", "path", metavar="PATH", help="also submit PATH, watch the job, cancel it")
@client_command
async def command(connection: Connection, path: str | None) -> ExitCode:
    """Try every endpoint of a live gateway and say what works.

    Without --submit nothing is created or changed. What an older gateway does not offer is said,
    and is no failure. Exit code: 0 if all works, 1 if something does not, 4 if nobody answers.

    \b
    Examples:
      teamcache-gateway smoke
      teamcache-gateway smoke --url http://gateway:8095 --submit 00_Media/Farm
    """
    # A gateway that is not there is told as one sentence.
    await connection.client.metrics()
    checks = READING if path is None else {**READING, **SUBMITTING}
    outcomes = await _try_all(connection, path, checks)
    failed = [one for one in outcomes if one.outcome == FAILS]
    if connection.as_json:
        url = connection.settings.url.value
        print_json({"url": url, "works": not failed, "checks": outcomes})
    else:
        click.echo(_sum(outcomes, len(failed)))
    return ExitCode.FAILED if failed else ExitCode.COMPLETED


async def _try_all(
    connection: Connection, path: str | None, checks: Mapping[str, Check]
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    settings = connection.settings
    signer, shown = None, {}
    match settings.credentials:
        case Signing():
            signer = RequestSigner(settings.credentials.key)
        case ShownToken():
            shown = {"token": await settings.credentials.fresh()}
        case None:
            shown = {"apiKey": settings.key.value if settings.key else ""}
    async with (
        Probe(settings.url.value, settings.trusted) as probe,
        Probe(settings.url.value, settings.trusted, signer) as known,
    ):
        trial = Trial(probe, connection.client, known, shown, path)
        for name, check in checks.items():
            outcomes.append(await _try(name, check, trial))
            if not connection.as_json:
                _print(outcomes[-1])
    return outcomes


async def _try(name: str, check: Check, trial: Trial) -> Outcome:
    try:
        return Outcome(name, WORKS, await check(trial))
    except NotOffered:
        return Outcome(name, NOT_OFFERED, "")
    except NothingToLookAt as reason:
        return Outcome(name, NOT_TRIED, str(reason))
    except (NotWorking, GatewayClientError) as error:
        return Outcome(name, FAILS, str(error))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Outcome(name, FAILS, "the answer is not understood")


def _sum(outcomes: Sequence[Outcome], failed: int) -> str:
    if failed:
        return f"{failed} of {len(outcomes)} do not work."
    return "All that is offered works."


def _print(one: Outcome) -> None:
    mark, colour = MARKS.get(one.outcome, ("-", "yellow"))
    note = f": {printable(one.note)}" if one.note else ""
    click.echo(f"{click.style(f'{mark} {one.outcome:<11}', fg=colour)} {one.name}{note}")
