"""Run the Dockerfile's own steps in empty folders, for where there is no Docker.

    python deploy/check_dockerfile.py [--extras embedded]

Each stage gets an empty folder as its root: the absolute paths in the Dockerfile's instructions
are led there, RUN is run by /bin/sh with this machine's Python, COPY sees what .dockerignore lets
through. Then the entry point is started as the image's user against a real PostgreSQL,
HEALTHCHECK is asked, and the stop signal is sent. Exit code 0 if all of that went well; what it
cannot tell is said at the end. Root is needed to become the image's user.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from dockerfile_check.dockerfile import (  # noqa: E402
    CheckFailed,
    Dockerfile,
    read_dockerfile,
    read_ignored,
)
from dockerfile_check.relay import relay_to  # noqa: E402
from dockerfile_check.stage import Stage, build  # noqa: E402

from gateway.standalone.postgres import EmbeddedPostgres  # noqa: E402

DATABASE, ROLE = "teamcache_db", "teamcache_user"
START_SECONDS, STOP_SECONDS = 60, 30
# PostgreSQL asks for an account with a name, and the image's has one in the image only.
NAMED_ACCOUNT = 65534

NOT_RUN = """\
Not run here, for want of a Docker engine:
  - the base images: the steps ran on {python} of this machine, not on {base}
  - layers, their cache and their size; BuildKit's own parser; LABEL, EXPOSE
  - the kernel's isolation: namespaces, cgroups, capabilities, a read-only root, being process 1
  - docker-compose.api.yml with Compose, next to TeamCache Manager itself"""


def main() -> int:
    """Check; print what was done. Returns the process's exit code."""
    parser = argparse.ArgumentParser(description="Run the Dockerfile's steps without Docker.")
    parser.add_argument("--dockerfile", type=Path, default=REPOSITORY / "Dockerfile")
    parser.add_argument("--extras", default="", help="value of the build argument EXTRAS")
    arguments = parser.parse_args()
    try:
        check(arguments.dockerfile, arguments.extras)
    except CheckFailed as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def check(path: Path, extras: str) -> None:
    """Build and run the image that ``path`` describes. Raises `CheckFailed`."""
    dockerfile = read_dockerfile(path)
    with _scratch() as scratch:
        context = scratch / "context"
        ignored = read_ignored(REPOSITORY / ".dockerignore")
        say(f"context: {ignored.copy_context(REPOSITORY, context)} files pass .dockerignore")
        python = choose_python(dockerfile.final_user)
        image = build(
            dockerfile, context, scratch, python=python, arguments={"EXTRAS": extras}, say=say
        )
        check_account(image, dockerfile.final_user)
        with _postgres(scratch) as port:
            database = {"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_NAME": DATABASE}
            run_image(dockerfile, image, database)
        if "embedded" in extras:
            run_standalone(dockerfile, image, scratch)
        for instruction in image.left_out:
            print(f"Left out, for want of root: {instruction.keyword} on line {instruction.line}")
    print(NOT_RUN.format(python=python, base=dockerfile.stages[-1].base))
    print("The Dockerfile's steps work.")


def say(text: str) -> None:
    """One line for people, at once."""
    print(f"  {text}", flush=True)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that the image's user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-image-")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def choose_python(uid: int) -> Path:
    """A Python ≥ 3.11 with venv that the image's user may run. Raises `CheckFailed`."""
    own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    probe = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"
    for candidate in (own, Path("/usr/local/bin/python3"), Path("/usr/bin/python3")):
        try:
            tried = subprocess.run(
                [candidate, "-c", probe], cwd="/", check=False, capture_output=True, **become(uid)
            )
        except OSError:
            continue
        if tried.returncode == 0:
            return candidate
    raise CheckFailed(f"Found no Python 3.11 or newer with venv that user {uid} may run")


def become(uid: int) -> dict[str, Any]:
    """Options that make a process the image's user's; without root it stays ours."""
    if os.geteuid() != 0:
        return {}
    return {"user": uid, "group": uid, "extra_groups": []}


def check_account(image: Stage, uid: int) -> None:
    """PostgreSQL refuses an account without a name. Raises `CheckFailed`."""
    accounts = (image.root / "etc" / "passwd").read_text().splitlines()
    if not image.left_out and str(uid) not in [line.split(":")[2] for line in accounts]:
        raise CheckFailed(f"User {uid} has no name in the image's /etc/passwd")


@contextmanager
def _postgres(scratch: Path) -> Iterator[int]:
    """A real PostgreSQL on a TCP port, as the image meets one."""
    with (
        EmbeddedPostgres(scratch / "postgres", database=DATABASE, user=ROLE) as server,
        relay_to(Path(server.host) / f".s.PGSQL.{server.port}") as port,
    ):
        yield port


def run_image(dockerfile: Dockerfile, image: Stage, database: dict[str, str]) -> None:
    """Start the image as it starts by itself, and stop it. Raises `CheckFailed`."""
    port = _free_port()
    env = image.env | database | {"API_GATEWAY_PORT": str(port), "API_GATEWAY_KEY": "a-key"}
    if ask_healthcheck(dockerfile, image, env) == 0:
        raise CheckFailed("HEALTHCHECK is content with a gateway that does not run")
    say("HEALTHCHECK fails while nothing runs")
    command = [*dockerfile.entrypoint, *dockerfile.command]
    with _running(command, image, env, dockerfile.final_user) as process:
        await_healthcheck(dockerfile, image, env, process)
        await_database(port, process)
        stop(process, dockerfile.stop_signal)


def run_standalone(dockerfile: Dockerfile, image: Stage, scratch: Path) -> None:
    """Start ``standalone`` with the PostgreSQL that EXTRAS=embedded brought. Raises too."""
    media = scratch / "media"
    media.mkdir()
    (media / "clip.mov").write_bytes(b"frames")
    port = _free_port()
    env = image.env | {"API_GATEWAY_PORT": str(port), "XDG_DATA_HOME": str(scratch / "data")}
    data = scratch / "data" / "teamcache-gateway"
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(data, NAMED_ACCOUNT, NAMED_ACCOUNT)
    command = [*dockerfile.entrypoint, "standalone", "--media", str(media)]
    with _running(command, image, env, NAMED_ACCOUNT) as process:
        await_healthcheck(dockerfile, image, env, process)
        await_database(port, process)
        stop(process, dockerfile.stop_signal)


@contextmanager
def _running(
    command: Sequence[str], image: Stage, env: dict[str, str], uid: int
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        cwd=image.workdir,
        env=env,
        stdin=subprocess.DEVNULL,
        **become(uid),
    )
    say(f"started as user {os.stat(f'/proc/{process.pid}').st_uid}: {' '.join(command)}")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def ask_healthcheck(dockerfile: Dockerfile, image: Stage, env: dict[str, str]) -> int:
    """Run HEALTHCHECK's command as Docker does; its exit code."""
    asked = subprocess.run(
        dockerfile.healthcheck,
        cwd=image.workdir,
        env=env,
        capture_output=True,
        check=False,
        **become(dockerfile.final_user),
    )
    return int(asked.returncode)


def await_healthcheck(
    dockerfile: Dockerfile, image: Stage, env: dict[str, str], process: subprocess.Popen[bytes]
) -> None:
    """Ask until the answer is 0. Raises `CheckFailed` if the process ends, or after a minute."""
    for _ in _attempts(process, "HEALTHCHECK was never content"):
        if ask_healthcheck(dockerfile, image, env) == 0:
            say("HEALTHCHECK is content")
            return


def await_database(port: int, process: subprocess.Popen[bytes]) -> None:
    """Ask /api/v1/health until the database answers through it."""
    for _ in _attempts(process, "/api/v1/health never answered 200"):
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            try:
                connection.request("GET", "/api/v1/health")
                if connection.getresponse().status == 200:
                    say("the database answers through /api/v1/health")
                    return
            except (OSError, HTTPException):
                continue


def _attempts(process: subprocess.Popen[bytes], failure: str) -> Iterator[None]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CheckFailed(f"The entry point ended by itself with code {process.returncode}")
        yield
        time.sleep(0.1)
    raise CheckFailed(f"{failure} in {START_SECONDS} s")


def stop(process: subprocess.Popen[bytes], signal_name: str) -> None:
    """Send the stop signal and expect code 0. Raises `CheckFailed`."""
    process.send_signal(signal.Signals[signal_name])
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"{signal_name} did not end it in {STOP_SECONDS} s") from None
    if code != 0:
        raise CheckFailed(f"After {signal_name} it ended with code {code}, not 0")
    say(f"{signal_name} ends it with code 0")


def _free_port() -> int:
    # Not one that the kernel chooses: among those it also chooses the ports of outgoing
    # connections, and one of them could take the port before the gateway does.
    for port in random.sample(range(10240, 32768), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise CheckFailed("No port is free")


if __name__ == "__main__":
    sys.exit(main())
