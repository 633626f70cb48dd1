"""The cluster: the folder with the data, who may connect to it, and how it is made."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.account import Account
from gateway.standalone.postgres.binaries import Binaries
from gateway.standalone.postgres.log import pick_reason
from gateway.standalone.postgres.provision import SUPERUSER

SCRATCH: Final = "postgres.initdb-"
MAP: Final = "gateway"
INITDB_TIMEOUT: Final = 600.0


def read_major(cluster: Path) -> int | None:
    """The PostgreSQL that made ``cluster``; None where there is no cluster yet.

    Raises `EmbeddedPostgresError` for a folder that is something else.
    """
    try:
        return int((cluster / "PG_VERSION").read_text())
    except (FileNotFoundError, ValueError):
        if cluster.exists() and not (cluster.is_dir() and not any(cluster.iterdir())):
            raise EmbeddedPostgresError(
                f"{cluster} is not empty and no PostgreSQL cluster, choose another data folder"
            ) from None
        return None


def make_cluster(cluster: Path, binaries: Binaries, account: Account, *, sync: bool) -> None:
    """Make a cluster, whole or not at all. Raises `EmbeddedPostgresError`."""
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=cluster.parent))
    try:
        account.take(scratch)
        _run_initdb(scratch, binaries, account, sync=sync)
        scratch.rename(cluster)
        _sync_folder(cluster.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_initdb(folder: Path, binaries: Binaries, account: Account, *, sync: bool) -> None:
    made = account.run(
        [
            binaries.initdb,
            *("--pgdata", folder),
            *("--username", SUPERUSER),
            *("--locale", "C.UTF-8"),
            *("--encoding", "UTF8"),
            *("--auth-local", "peer"),
            *("--auth-host", "reject"),
            *(() if sync else ("--no-sync",)),
        ],
        timeout=INITDB_TIMEOUT,
    )
    if made.returncode:
        reason = pick_reason(made.stderr)
        raise EmbeddedPostgresError(
            f"Cannot make a PostgreSQL cluster in {folder.parent}: {reason}"
        )


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_scratch(data_dir: Path) -> None:
    """Remove what an ``initdb`` that was cut off left behind."""
    for folder in data_dir.glob(f"{SCRATCH}*"):
        shutil.rmtree(folder, ignore_errors=True)


def check_major(cluster: Path, made_by: int | None, binaries: Binaries) -> None:
    """Raise `EmbeddedPostgresError` if ``binaries`` cannot run what ``made_by`` has made."""
    if made_by not in {None, binaries.major}:
        raise EmbeddedPostgresError(
            f"The data in {cluster} was made by PostgreSQL {made_by}, "
            f"and PostgreSQL {binaries.version} in {binaries.folder} cannot read it"
        )


def write_access_rules(cluster: Path, account: Account, role: str) -> None:
    """Let in who runs the gateway and who runs the server, as ``role`` and as the superuser.

    They are told by the kernel (peer), so there is no password. Written at each start: the
    gateway may run as somebody else than last time.
    """
    people = {account.name, pwd.getpwuid(os.geteuid()).pw_name}
    lines = [
        f"{MAP} {_quote(person)} {_quote(name)}"
        for person in sorted(people)
        for name in sorted({role, SUPERUSER})
    ]
    _replace(cluster / "pg_hba.conf", [f"local all all peer map={MAP}"], account)
    _replace(cluster / "pg_ident.conf", lines, account)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _replace(path: Path, lines: Iterable[str], account: Account) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        account.take(fd)
        file.writelines(f"{line}\n" for line in lines)
    fresh.rename(path)
