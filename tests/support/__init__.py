"""What the tests of several folders share: servers, databases, doubles, rows."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
