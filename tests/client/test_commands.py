"""The commands beside a database, as processes: how they start, end, and refuse."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psycopg2
import pytest

from bench.free_ports import free_port
from gateway.database import connection_arguments
from gateway.settings import Settings
from support.cli_kit import invoke
from support.processes import environment, run_command, running_command
from support.worker_kit import Bench, counters, item_states, query, until_blocked

MIB = 1024 * 1024
# Over and above the shutdown time that a command was given: what its pool and Python may take.
MARGIN = 10
NOWHERE = {"DB_HOST": "127.0.0.1", "DB_PORT": "1"}


def env_of(bench: Bench, **changes: str) -> dict[str, str]:
    return environment(
        bench.settings,
        CONTAINER_MOUNT_POINT=str(bench.mount),
        CACHE_PROGRESS_TIME_THRESHOLD="100",
        **changes,
    )


async def get(url: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.json()


# serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_answers_until_a_signal_ends_it(
    bench: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    env = env_of(bench, API_GATEWAY_PORT="0")
    async with running_command("serve", env=env, cwd=tmp_path) as serve:
        url = (await serve.says("listening on")).split()[-1]
        await serve.says("ready")
        async with aiohttp.ClientSession() as session:  # its connection stays open
            async with session.get(f"{url}/api/v1/health") as response:
                assert response.status == 200
            serve.send(number)
            assert await serve.end(10 + MARGIN) == 0


async def test_serve_ends_while_the_database_is_not_there(tmp_path: Path) -> None:
    env = environment(API_GATEWAY_PORT="0", SHUTDOWN_TIMEOUT="1", **NOWHERE)
    async with running_command("serve", env=env, cwd=tmp_path) as serve:
        url = (await serve.says("listening on")).split()[-1]
        await serve.says("Waiting for the database")
        assert (await get(f"{url}/livez"))[0] == 200
        assert (await get(f"{url}/api/v1/health"))[0] == 503
        assert await serve.stop(1 + MARGIN) == 0


async def test_serve_comes_to_life_when_the_database_does(
    empty_database: Settings, tmp_path: Path
) -> None:
    name = empty_database.db_name
    admin = empty_database.model_copy(update={"db_name": "postgres", "db_user": "postgres"})
    query(admin, f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    env = environment(empty_database, API_GATEWAY_PORT="0")
    async with running_command("serve", env=env, cwd=tmp_path) as serve:
        await serve.says("Waiting for the database")
        query(admin, f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        await serve.says("ready")
        assert await serve.stop() == 0


async def test_serve_comes_to_life_when_the_databases_port_opens(
    database_settings: Settings, tmp_path: Path
) -> None:
    """Refused on TCP again and again before: each refusal may spoil a descriptor for uvloop."""
    port = free_port()
    env = environment(database_settings, DB_HOST="127.0.0.1", DB_PORT=str(port))
    env |= {"API_GATEWAY_PORT": "0"}
    async with running_command("serve", env=env, cwd=tmp_path) as serve:
        url = (await serve.says("listening on")).split()[-1]
        await serve.says("Waiting for the database")
        for _ in range(8):
            status, body = await get(f"{url}/api/v1/health")
            assert (status, body["database"]) == (503, "disconnected")
        async with forwarded(port, database_settings):
            await serve.says("ready")
            assert (await get(f"{url}/api/v1/health"))[0] == 200
        assert await serve.stop() == 0
    assert "Traceback" not in "\n".join(serve.lines)


@asynccontextmanager
async def forwarded(port: int, settings: Settings) -> AsyncIterator[None]:
    """A TCP port that leads to PostgreSQL's socket."""
    path = f"{settings.db_host}/.s.PGSQL.{settings.db_port}"
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(path)
        for task in (pump(reader, back), pump(there, writer)):
            tasks.add(asyncio.create_task(task))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_database_host_that_swallows_everything_does_not_hold_up_the_end(
    tmp_path: Path, command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        env = environment(
            DB_HOST="127.0.0.1", DB_PORT=str(silent.getsockname()[1]), SHUTDOWN_TIMEOUT="1"
        )
        if command == "serve":
            env["API_GATEWAY_PORT"] = "0"
        async with running_command(command, env=env, cwd=tmp_path) as process:
            connection, _ = await asyncio.get_running_loop().run_in_executor(None, silent.accept)
            with connection:
                assert await process.stop(1 + MARGIN) == 0


async def test_a_port_in_use_is_one_line(bench: Bench, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = env_of(bench, API_GATEWAY_PORT=str(port), LOG_LEVEL="error")
        code, output, lines = await run_command("serve", env=env, cwd=tmp_path)
    assert (code, output) == (1, "")
    assert lines == [f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "index", "standalone"])
async def test_a_wrong_setting_is_named(tmp_path: Path, command: str) -> None:
    arguments = {"index": ["."], "standalone": ["--media", "."]}.get(command, [])
    env = environment(LOG_LEVEL="loud")
    code, output, lines = await run_command(command, *arguments, env=env, cwd=tmp_path)
    assert (code, output) == (2, "")
    assert [line for line in lines if "LOG_LEVEL" in line] == lines[-1:]


async def test_a_setting_that_is_found_wrong_late_ends_with_the_same_code(tmp_path: Path) -> None:
    env = environment(ALLOWED_PATHS="../elsewhere", API_GATEWAY_PORT="0", LOG_LEVEL="error")
    code, output, lines = await run_command("serve", env=env, cwd=tmp_path)
    assert (code, output) == (2, "")
    assert "ALLOWED_PATHS" in lines[-1]
    assert "Traceback" not in "\n".join(lines)


async def test_a_misspelled_variable_is_refused(tmp_path: Path) -> None:
    env = environment(API_GATEWAY_PROT="1")
    code, _, lines = await run_command("serve", env=env, cwd=tmp_path)
    assert code == 2
    assert "API_GATEWAY_PORT?" in lines[-1]


# worker


async def test_a_worker_process_reads_jobs_until_it_is_stopped(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.index({"a/one": 3 * MIB, "a/two": 4})
    job_id = await bench.submit("a")
    async with running_command("worker", env=env_of(bench), cwd=tmp_path) as worker:
        await bench.end_of(job_id)
        assert await worker.stop(10 + MARGIN) == 0
    assert counters(bench.settings, job_id) == ("completed", 2, 0, 3 * MIB + 4, 0)
    assert query(bench.settings, "SELECT id FROM teamcache_gateway.workers") == []


async def test_a_worker_that_is_stopped_while_it_reads_gives_the_files_back(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.index({f"a/{number}": 1 << 40 for number in range(4)})
    job_id = await bench.submit("a")
    env = env_of(bench, SHUTDOWN_TIMEOUT="2")
    async with running_command("worker", env=env, cwd=tmp_path) as worker:
        await bench.watch(job_id, lambda job: job.progress.completed_bytes > 0)
        assert await worker.stop(2 + MARGIN) == 0
    assert item_states(bench.settings, job_id) == {"pending": 4}
    assert query(bench.settings, "SELECT id FROM teamcache_gateway.workers") == []


async def test_a_worker_ends_while_the_database_is_not_there(tmp_path: Path) -> None:
    env = environment(SHUTDOWN_TIMEOUT="1", **NOWHERE)
    async with running_command("worker", env=env, cwd=tmp_path) as worker:
        await worker.says("Waiting for the database")
        assert await worker.stop(1 + MARGIN) == 0


async def test_a_second_signal_ends_a_process_at_once(bench: Bench, tmp_path: Path) -> None:
    """The lock on the job's row keeps the worker from ending in order."""
    await bench.index({"a/one": 1})
    await bench.submit("a")
    async with bench.database.transaction() as session:
        await session.execute("SELECT 1 FROM cache_jobs FOR UPDATE")
        env = env_of(bench, SHUTDOWN_TIMEOUT="300")
        async with running_command("worker", env=env, cwd=tmp_path) as worker:
            await worker.says("ready")
            await until_blocked(bench.settings)
            worker.send(signal.SIGTERM)
            worker.send(signal.SIGINT)  # two of a kind that arrive together are one
            assert await worker.end(MARGIN) == 1


# migrate


async def test_migrate_says_what_it_added_and_the_second_time_nothing(
    empty_database: Settings, tmp_path: Path
) -> None:
    env = environment(empty_database, LOG_LEVEL="warning")
    code, output, lines = await run_command("migrate", env=env, cwd=tmp_path)
    assert (code, lines) == (0, [])
    assert "added: table cache_jobs\n" in output
    assert output.endswith("The schema is up to date.\n")
    code, output, lines = await run_command("migrate", env=env, cwd=tmp_path)
    assert (code, output, lines) == (0, "The schema is up to date.\n", [])


async def test_migrate_sql_prints_what_an_owner_can_run(
    empty_database: Settings, tmp_path: Path
) -> None:
    env = environment(empty_database)
    code, script, _ = await run_command("migrate", "--sql", env=env, cwd=tmp_path)
    assert code == 0
    assert query(empty_database, "SELECT to_regclass('cache_jobs') AS found")[0].found is None
    connection = psycopg2.connect(**connection_arguments(empty_database))
    connection.autocommit = True
    with connection.cursor() as cur:
        for statement in _statements(script):
            cur.execute(statement)
    connection.close()
    code, script, _ = await run_command("migrate", "--sql", env=env, cwd=tmp_path)
    assert (code, script) == (0, "-- Nothing is missing.\n")


def _statements(script: str) -> list[str]:
    """As psql takes a script apart: at semicolons, but for those in a function's body."""
    found, inside = [""], ""
    for line in script.splitlines():
        for quote in re.findall(r"\$\w*\$", line):
            # Within one kind of quotes the other kinds are text.
            inside = "" if quote == inside else inside or quote
        found[-1] += line + "\n"
        if line.rstrip().endswith(";") and not inside:
            found.append("")
    return [statement for statement in found if statement.strip()]


async def test_migrate_without_a_database_is_one_line(tmp_path: Path) -> None:
    code, output, lines = await run_command("migrate", env=environment(**NOWHERE), cwd=tmp_path)
    assert (code, output) == (1, "")
    [line] = lines
    reason = "Error: Cannot reach PostgreSQL at 127.0.0.1:1 as teamcache_user: Connection refused"
    assert line.startswith(reason)


async def test_a_statement_that_postgresql_refuses_is_told_with_its_reason(
    empty_database: Settings, tmp_path: Path
) -> None:
    query(empty_database, "CREATE TABLE cache_jobs (id uuid PRIMARY KEY, created_at timestamp)")
    code, _, lines = await run_command("migrate", env=environment(empty_database), cwd=tmp_path)
    assert code == 1
    assert lines[-1] == ('Error: PostgreSQL refused a statement: column "status" does not exist')


# index


async def test_index_counts_what_is_new_and_the_second_time_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (bench.mount / name).write_text(name)
    env = env_of(bench)
    code, output, _ = await run_command("index", bench.mount, env=env, cwd=tmp_path)
    assert code == 0
    assert "2 files" in output
    assert "added" in output
    _, output, _ = await run_command("index", bench.mount, env=env, cwd=tmp_path)
    assert "0 added, 0 changed, 0 removed" in output
    assert query(bench.settings, "SELECT count(*) AS n FROM files WHERE NOT is_directory")[0].n == 2


async def test_index_refuses_a_folder_that_is_not_there_with_one_line(
    bench: Bench, tmp_path: Path
) -> None:
    code, output, lines = await run_command(
        "index", bench.mount / "gone", env=env_of(bench), cwd=tmp_path
    )
    assert (code, output) == (1, "")
    # The progress line leaves an empty one behind, where it was.
    assert [line for line in lines if line] == [f"Error: {bench.mount}/gone does not exist"]


async def test_index_stops_on_a_signal_and_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    """A lock on the table holds it up until the signal comes."""
    (bench.mount / "a").write_text("a")
    async with bench.database.transaction() as session:
        await session.execute("LOCK TABLE files IN ACCESS EXCLUSIVE MODE")
        command = ("index", bench.mount)
        async with running_command(*command, env=env_of(bench), cwd=tmp_path) as index:
            await until_blocked(bench.settings)
            assert await index.stop(MARGIN) == 0
    assert index.lines[-1] == "Stopped: nothing was changed."
    assert query(bench.settings, "SELECT 1 FROM files") == []


# The command line itself


async def test_help_names_every_command_and_needs_no_settings(tmp_path: Path) -> None:
    env = environment(LOG_LEVEL="loud")
    code, output, _ = await run_command("--help", env=env, cwd=tmp_path)
    assert code == 0
    for name in ("serve", "worker", "index", "migrate", "standalone", "demo"):
        assert f"\n  {name} " in output
        # In this process: one of its own takes most of a second to begin.
        assert invoke([name, "--help"], b"", env).code == 0


async def test_an_unknown_command_is_code_2(tmp_path: Path) -> None:
    code, _, lines = await run_command("sevre", env=environment(), cwd=tmp_path)
    assert code == 2
    assert "sevre" in lines[-1]
