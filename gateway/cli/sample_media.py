"""A small tree of files as a film has them, to try the gateway on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MIB = 1024 * 1024

EXR_FRAMES = 240
EXR_BYTES = 96 * 1024
CLIPS = 12
CLIP_BYTES = 512 * MIB

# Names that have tripped somebody up: spaces, _ and %, accents, an apostrophe.
AWKWARD_NAMES = (
    "Édition finale/générique de fin.wav",
    "Director's cut/Reel 1 (final) v2.mov",
    "Temp_100%/A_001_C_002.wav",
    "Temp_100%/50% done_%20.txt",
    "Über den Dächern/Szene 12.wav",
    "東京/カット 01.wav",
)
AWKWARD_BYTES = 2 * MIB


def make_sample_media(root: Path) -> None:
    """Write the tree below ``root``; what is there with the right size is left as it is.

    A few hundred files of 6 GB that take some 40 MB of disk: clips are sparse, they have a size
    but no blocks.
    """
    for name, size in _files():
        path = root / name
        if not path.exists() or path.stat().st_size != size:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, size)


def _files() -> Iterator[tuple[str, int]]:
    """Each file's name below the root, with its bytes."""
    for clip in range(1, CLIPS + 1):
        yield f"00_Media/Farm/ProRes422/Farm{clip:05}.mov", CLIP_BYTES
    for frame in range(1001, 1001 + EXR_FRAMES):
        yield f"01_VFX/SEQ_010/SH_0040/comp/v003/SEQ_010_SH_0040.{frame}.exr", EXR_BYTES
    for name in AWKWARD_NAMES:
        yield f"02_Audio & Edit/{name}", AWKWARD_BYTES


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if size < CLIP_BYTES:
            file.write(path.name.encode() * (size // len(path.name.encode()) + 1))
        file.truncate(size)
