"""Looks for secrets in every file of the source: keys, passwords, tokens.

    python .ci/leaked_secrets.py [ROOT] [--keep]

Ends with 1 if there is one that `known_secrets.txt` does not list. The tests and examples have
some that open nothing: `--keep` writes them all into that list, to be looked through before it is
committed. The list holds digests, not secrets; a known one is known in its file alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from detect_secrets.core.potential_secret import PotentialSecret
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

KNOWN: Final = Path(".ci/known_secrets.txt")
HEAD: Final = "# SHA-1 | kind | file. They open nothing; leaked_secrets.py writes and reads this."
Mark = tuple[str, str, str]
# Their digest is that of the line that they begin with: one that is known would hide all others.
NEVER_KNOWN: Final = "Private Key"
# Anybody could write such a remark beside a secret; the list alone says what is known.
UNHEARD: Final = ("detect_secrets.filters.allowlist.is_line_allowlisted",)


def files(root: Path) -> Iterator[Path]:
    """Those of the source, but for the list itself and what git ignores."""
    ignored = [".git", *(root / ".gitignore").read_text(encoding="utf-8").split()]
    patterns = [pattern.rstrip("/") for pattern in ignored]
    for folder, folders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if not _matches(here / name, patterns))
        yield from (
            here / name
            for name in sorted(names)
            if here / name != KNOWN and not _matches(here / name, patterns)
        )


def _matches(path: Path, patterns: list[str]) -> bool:
    return any(
        fnmatch(path.as_posix() if "/" in one else path.name, one.lstrip("/")) for one in patterns
    )


def find(root: Path) -> Iterator[PotentialSecret]:
    """Every secret that is in the source, known or not."""
    os.chdir(root)
    with default_settings() as settings:
        settings.disable_filters(*UNHEARD)
        for path in files(Path()):
            yield from scan_file(path.as_posix())


def mark(secret: PotentialSecret) -> Mark:
    """By what a secret is known: its digest, its kind and its file."""
    return secret.secret_hash, secret.type, secret.filename


def known() -> set[Mark]:
    """Those that are listed; raises ValueError for a line that is no such mark."""
    lines = KNOWN.read_text(encoding="utf-8").splitlines() if KNOWN.exists() else []
    return {_read(line) for line in lines if not line.startswith("#")}


def _read(line: str) -> Mark:
    digest, kind, place = line.split(" | ")
    bytes.fromhex(digest)
    return digest, kind, place


def keep(found: list[PotentialSecret]) -> None:
    """List all that were found."""
    marks = {mark(secret) for secret in found if secret.type != NEVER_KNOWN}
    lines = [" | ".join(one) for one in sorted(marks, key=lambda it: (it[2], it))]
    KNOWN.write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")


def main() -> int:
    """Read the command line and look; gives the code to end with."""
    parser = argparse.ArgumentParser(description="Look for secrets in the source.")
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--keep", action="store_true", help="list what is found as known")
    told = parser.parse_args()
    found = list(find(told.root))
    if told.keep:
        keep(found)
    listed = known()
    new = [secret for secret in found if mark(secret) not in listed]
    for secret in new:
        print(f"{secret.filename}:{secret.line_number}: {secret.type}")
    print(f"{len(found) - len(new)} known secrets, {len(new)} that nobody knows of")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
