"""Creates the filespaces from the settings."""

from __future__ import annotations

from gateway.paths import Filespace, Filespaces
from gateway.settings.settings import Settings


def make_filespaces(settings: Settings) -> Filespaces:
    """Create the filespaces that the settings list, or the one at the mount point."""
    if not settings.filespaces:
        return Filespaces.single(settings.container_mount_point, settings.allowed_paths)
    listed = [
        Filespace.create(it.name, it.mount_point, it.client_roots) for it in settings.filespaces
    ]
    return Filespaces.listed(listed, settings.allowed_paths)
