"""Programs that some tests run, and that not every machine has."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def require_program(name: str) -> str:
    """The program's path. Without it the test is left out, or fails where everything is wanted.

    The programs of this Python's own environment are found without being on the PATH.
    """
    own = Path(sys.executable).parent
    if found := shutil.which(name, path=f"{own}{os.pathsep}{os.environ.get('PATH', '')}"):
        return found
    missing = pytest.fail if os.environ.get("GATEWAY_TESTS_STRICT") else pytest.skip
    return missing(f"{name} is not installed here")
