"""How often Python looks for garbage in cycles."""

from __future__ import annotations

import gc
from typing import Final

# By default it looks every few hundred objects: in the midst of importing modules, and all the time
# while thousands of files and requests are under way, which hardly ever are in cycles.
THRESHOLDS: Final = (10_000, 20, 20)


def tune_gc() -> None:
    """Have this process look for cycles seldom: hardly anything of ours is in one."""
    gc.set_threshold(*THRESHOLDS)
