"""The system's Chromium; TEST_CHROMIUM names another one than that on the PATH."""

from __future__ import annotations

import os
from typing import Any

from support.optional_programs import require_program

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def launch_chromium(tools: Any) -> Any:
    """A browser of Playwright's ``tools``, blocking or not as they are."""
    chromium = require_program(os.environ.get("TEST_CHROMIUM", "chromium"))
    return tools.chromium.launch(executable_path=chromium, args=list(FLAGS))
