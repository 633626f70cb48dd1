"""Columns of a progress bar that write sizes as the API does: by powers of 1024."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text

from gateway.wire import readable_size


class SizeColumn(ProgressColumn):
    """What is done, of what there is to do."""

    def render(self, task: Task) -> Text:
        """Write ``1.5 GB/3.0 GB``."""
        total = "?" if task.total is None else readable_size(int(task.total))
        return Text(f"{readable_size(int(task.completed))}/{total}", style="progress.download")


class SpeedColumn(ProgressColumn):
    """Bytes in a second; once it has ended, the mean."""

    def render(self, task: Task) -> Text:
        """Write ``2.25 GB/s``."""
        speed = task.finished_speed or task.speed
        shown = "?" if speed is None else f"{readable_size(int(speed))}/s"
        return Text(shown, style="progress.data.speed")
