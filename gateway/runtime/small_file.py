"""A small file that somebody else keeps, and may be writing or breaking at this very moment."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 64 * 1024


def read_small_file(path: Path, longest: int = MAX_FILE_BYTES) -> bytes | None:
    """What the file holds; nothing if it cannot be read or is too long, None if there is none."""
    try:
        # Somebody's pipe must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            text = file.read(longest + 1) if is_regular else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return b""
    return text if len(text) <= longest else b""
