"""The operating system's account that the server runs as: ours, or an unprivileged one for root."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import EmbeddedPostgresError

UNPRIVILEGED: Final = ("postgres", "nobody")

# Nothing of our own environment: an uninstalled LANG stops initdb, a stray PGDATA misleads it.
ENVIRONMENT: Final[Mapping[str, str]] = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}

FIND_BLOCKED: Final = 'for f; do [ -x "$f" ] || { printf %s "$f"; exit 1; }; done'


@dataclass(frozen=True)
class Account:
    """Who the server's processes are, and who owns its files."""

    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the account that the gateway itself runs as."""
        return self.uid == os.geteuid()

    def spawn(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
        """Start ``command`` as this account, in a session of its own. Raises OSError."""
        if not self.is_ours:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            cwd="/",  # the account may have no access to our working directory
            env=dict(ENVIRONMENT),
            umask=0o077,
            start_new_session=True,
            **options,
        )

    def run(
        self, command: Sequence[str | Path], timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` to its end; stdout and stderr are captured apart.

        Raises OSError where it cannot be started and `EmbeddedPostgresError` when it takes
        longer than ``timeout`` seconds.
        """
        process = self.spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException as error:
                process.kill()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise EmbeddedPostgresError(
                        f"{Path(command[0]).name} took longer than {timeout:.0f} s"
                    ) from None
                raise
        return subprocess.CompletedProcess(
            command, process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )

    def take(self, target: Path | int) -> None:
        """Make this account the owner of a file or folder that we created."""
        if not self.is_ours:
            os.chown(target, self.uid, self.gid)


def choose_account(cluster: Path) -> Account:
    """The account for the server on ``cluster``.

    An ordinary user is that user. For root, since PostgreSQL refuses to run as root, it is the
    owner of the cluster if there is one already, else the first unprivileged account that exists.
    """
    if os.geteuid() != 0:
        return _account_of(os.geteuid())
    if cluster.is_dir() and (owner := cluster.stat().st_uid) != 0:
        return _account_of(owner, f", chown -R {cluster} to one that exists")
    for name in UNPRIVILEGED:
        try:
            return _account_from(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no account named "
        f"{' or '.join(UNPRIVILEGED)} to run it as"
    )


def _account_of(uid: int, remedy: str = "") -> Account:
    try:
        return _account_from(pwd.getpwuid(uid))
    except KeyError:
        raise EmbeddedPostgresError(
            "PostgreSQL needs an account with a name, "
            f"and user id {uid} has none in /etc/passwd{remedy}"
        ) from None


def _account_from(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def find_blocked(account: Account, folder: Path) -> Path | None:
    """The first folder on the way from / to ``folder`` that ``account`` may not pass, or None.

    The account itself tries: modes alone do not know of access lists and network shares.
    """
    way = [*reversed(folder.parents), folder]
    try:
        tried = account.run(["/bin/sh", "-c", FIND_BLOCKED, "sh", *way])
    except OSError as error:
        raise EmbeddedPostgresError(
            f"Cannot run programs as the account {account.name} ({error.strerror}), "
            "start the gateway as an ordinary user instead"
        ) from None
    return Path(tried.stdout) if tried.returncode else None
