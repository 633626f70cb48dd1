"""Programs and packages that some tests need and not every machine has."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

STRICT = "GATEWAY_TESTS_STRICT"
# What no program that could be installed gives: a container's root may not have it.
NO_MOUNTS = "needs the right to mount"
ALLOWED = frozenset({NO_MOUNTS})


def require_program(name: str) -> str:
    """The path of the program; without it the test is left out, or fails where STRICT is set."""
    # Some programs come from PyPI, into the folder of this Python, which may not be on the PATH.
    folders = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{Path(sys.executable).parent}"
    path = shutil.which(name, path=folders)
    if path is None:
        leave_out(f"needs the program {name}, which is not installed here")
    return path


def require_package(name: str) -> Any:
    """The imported module ``name``, on the same terms."""
    try:
        return importlib.import_module(name)
    except ImportError:
        leave_out(f"needs the Python package {name.partition('.')[0]}, which is not installed here")


def leave_out(reason: str) -> NoReturn:
    """Leave the test out, saying why; where STRICT is set that is a failure, unless ALLOWED."""
    if os.environ.get(STRICT) and reason not in ALLOWED:
        pytest.fail(f"{reason}, and {STRICT} wants every test to run", pytrace=False)
    pytest.skip(reason)
