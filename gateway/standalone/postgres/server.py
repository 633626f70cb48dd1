"""Starting and stopping the embedded PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import psycopg2

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.account import Account, choose_account, find_blocked
from gateway.standalone.postgres.binaries import Binaries, find_binaries, make_reachable
from gateway.standalone.postgres.cluster import (
    check_major,
    make_cluster,
    read_major,
    remove_scratch,
    write_access_rules,
)
from gateway.standalone.postgres.lock import Lock
from gateway.standalone.postgres.log import find_reason, open_log
from gateway.standalone.postgres.provision import check_name, provision
from gateway.standalone.postgres.shutdown import (
    Patience,
    drop_stale_pid_file,
    end_servers,
    kill_servers,
    read_pid_file,
    read_startup_progress,
)
from gateway.standalone.postgres.socket_folder import PORT, make_socket_folder, remove_socket_folder

# What differs from PostgreSQL's own defaults, for one host without replicas. Durability
# (fsync, synchronous_commit, full_page_writes) stays on.
DEFAULTS: Final[Mapping[str, str]] = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Not /dev/shm: Docker gives it 64 MB, and systemd empties it when a user logs out.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
# What we rely on, whatever else is asked for.
FIXED: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "log_destination": "stderr",
    "logging_collector": "off",
    "lc_messages": "C",
}


class EmbeddedPostgres:
    """A PostgreSQL that keeps its data in ``data_dir`` and listens on a private socket only.

    ``host`` and ``port`` are what a client connects to, as ``user`` to ``database``, the same at
    every start of one object; that role owns the database and is no superuser. ``bin_dir`` holds
    the programs of PostgreSQL 13 to 18, None takes the wheel's. ``options`` are further settings
    of the server. All methods block, may be called from any thread and raise
    `EmbeddedPostgresError`. What somebody else created, folders above all, keeps its owner and
    mode.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database: str,
        user: str,
        bin_dir: Path | None = None,
        options: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._cluster = self._data_dir / "postgres"
        self._log = self._data_dir / "postgres.log"
        self._database = database
        self._role = user
        self._bin_dir = bin_dir
        self._options = dict(options or {})
        self._patience = patience or Patience()
        self._lock = Lock(self._data_dir / "lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._account: Account | None = None
        self._socket_folder: Path | None = None
        self._socket_folder_before: Path | None = None
        self._mutex = threading.Lock()
        self._stop_requested = threading.Event()

    def prepare(self) -> None:
        """Take the data folder for ourselves, so that `host` is known; `start` does it if needed.

        It takes no time worth speaking of, and `stop` gives the folder back.
        """
        with self._mutex, self._failing_clean():
            self._prepare()

    def start(self) -> None:
        """Run the server until `stop`, making the cluster, the role and the database if needed.

        Returns when it accepts connections. A server left behind by a gateway that was killed
        is stopped first. Recovery after a crash may take as long as it makes progress; a `stop`
        from another thread ends the waiting. A start that fails leaves nothing running.
        """
        with self._mutex:
            if self._process is not None and self._process.poll() is None:
                return
            self._stop_requested.clear()
            with self._failing_clean():
                self._end_server()
                self._start(self._prepare())

    @contextmanager
    def _failing_clean(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._shut_down()
            raise EmbeddedPostgresError(self._describe(error)) from None
        except BaseException:
            self._shut_down()
            raise

    def stop(self) -> None:
        """Stop the server; what does not end by itself is ended. May be called repeatedly."""
        self._stop_requested.set()
        with self._mutex:
            self._shut_down()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """The folder of the server's socket, to be used as DB_HOST; known from `prepare` on."""
        if self._socket_folder is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL is not running")
        return str(self._socket_folder)

    @property
    def port(self) -> int:
        """The number in the socket's name, to be used as DB_PORT; no network port."""
        return PORT

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        if self._process is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL is not running")
        return self._process.pid

    def _prepare(self) -> Account:
        if self._account is None:
            check_name(self._database, "database")
            check_name(self._role, "role")
            account = choose_account(self._cluster)
            self._prepare_data_dir(account)
            self._lock.acquire(account)
            self._make_socket_folder(account)
            self._account = account
        return self._account

    def _make_socket_folder(self, account: Account) -> None:
        self._socket_folder = self._socket_folder_before = make_socket_folder(
            self._data_dir, account, self._socket_folder_before
        )

    def _start(self, account: Account) -> None:
        self._clear_remains()
        self._make_socket_folder(account)
        made_by = read_major(self._cluster)
        found = find_binaries(self._bin_dir, made_by)
        check_major(self._cluster, made_by, found)
        binaries = make_reachable(found, account, self._data_dir)
        if made_by is None:
            sync = self._options.get("fsync") != "off"
            make_cluster(self._cluster, binaries, account, sync=sync)
        write_access_rules(self._cluster, account, self._role)
        self._launch(binaries, account)
        self._provision()

    def _prepare_data_dir(self, account: Account) -> None:
        # Others may pass through folders that root makes, so that the account can; not list them.
        mode = 0o700 if account.is_ours else 0o711
        missing = [p for p in (self._data_dir, *self._data_dir.parents) if not p.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            folder.chmod(mode)
        if not self._data_dir.is_dir():
            raise EmbeddedPostgresError(f"The data folder {self._data_dir} is not a folder")
        if blocked := find_blocked(account, self._data_dir):
            raise EmbeddedPostgresError(
                f"PostgreSQL runs as the account {account.name}, which may not enter {blocked}: "
                "choose a data folder elsewhere with --data-dir"
            )

    def _clear_remains(self) -> None:
        end_servers(self._cluster, self._patience)
        drop_stale_pid_file(self._cluster)
        remove_scratch(self._data_dir)

    def _launch(self, binaries: Binaries, account: Account) -> None:
        """Start the postmaster and wait until it accepts connections."""
        log = open_log(self._log, account)
        try:
            since = os.fstat(log).st_size
            self._process = account.spawn(self._make_command(binaries), stdout=log, stderr=log)
        finally:
            os.close(log)
        self._await_ready(self._process, since)

    def _make_command(self, binaries: Binaries) -> list[str | Path]:
        settings = {**DEFAULTS, **self._options, **FIXED, "unix_socket_directories": self.host}
        if binaries.major >= 15:
            settings["log_startup_progress_interval"] = "1s"
        arguments = [part for name in settings for part in ("-c", f"{name}={settings[name]}")]
        return [binaries.postgres, "-D", self._cluster, *arguments]

    def _await_ready(self, process: subprocess.Popen[bytes], since: int) -> None:
        seen: object = None
        deadline = 0.0
        while not self._is_ready(process):
            if process.poll() is not None:
                reason = find_reason(self._log, since)
                raise EmbeddedPostgresError(f"PostgreSQL ended while it started: {reason}")
            if self._stop_requested.wait(0.02):
                raise EmbeddedPostgresError("PostgreSQL was stopped while it started")
            signs = (self._log.stat().st_size, read_startup_progress(process.pid))
            if signs != seen:
                seen, deadline = signs, time.monotonic() + self._patience.start
            elif time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL has made no progress for {self._patience.start:g} s "
                    f"while it started: {find_reason(self._log, since)}"
                )

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        known = read_pid_file(self._cluster)
        return known is not None and known.pid == process.pid and known.is_ready

    def _provision(self) -> None:
        since = self._log.stat().st_size
        try:
            provision(self.host, self.port, role=self._role, database=self._database)
        except psycopg2.Error:
            raise EmbeddedPostgresError(
                f"Cannot create the role {self._role} and the database {self._database}: "
                f"{find_reason(self._log, since)}"
            ) from None

    def _shut_down(self) -> None:
        """End our server if there is one, and give back what it held."""
        try:
            self._end_server()
        finally:
            self._account = None
            if self._socket_folder is not None:
                with suppress(OSError):  # the next start removes it
                    remove_socket_folder(self._data_dir)
                self._socket_folder = None
            self._lock.release()

    def _end_server(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._end(process)
            kill_servers(self._cluster, self._patience)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for signum, seconds in (
            (signal.SIGINT, self._patience.fast),
            (signal.SIGQUIT, self._patience.immediate),
            (signal.SIGKILL, self._patience.immediate),
        ):
            process.send_signal(signum)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    def _describe(self, error: OSError) -> str:
        return f"Cannot run PostgreSQL in {self._data_dir}: {error.strerror or error}" + (
            f" ({error.filename})" if error.filename else ""
        )
