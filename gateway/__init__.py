"""TeamCache gateway: cache jobs over REST, with progress in files and bytes."""

from gateway.app import create_app
from gateway.settings import Settings

__all__ = ["Settings", "create_app"]
