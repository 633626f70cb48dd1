"""Forms that people type and that name nothing, or more than one thing. Never guessed."""

from __future__ import annotations

import re
from typing import Final

from gateway.paths.refusal import Refused

# What a path begins with (a pattern without groups of its own) → why it is refused.
REFUSED_FORMS: Final = {
    r"~(?:[/\\]|$)": (
        "~ is a home folder, which only the shell of a client knows; write the whole path"
    ),
    r"[A-Za-z]:(?![/\\])": (
        r"it is relative to the current folder of a drive; write X:\…, or ./ in front of a name"
    ),
    r"[A-Za-z][A-Za-z0-9+.\-]+://": "it is a URL; write the path of a file or folder",
    r"\\(?!\\)": r"it begins with \ but names no drive and no server",
    r"[\\/]{2}[.?][\\/]": "it is a path of Windows' devices; write it with a drive or a server",
    r"\ufeff": "it begins with a byte order mark, which a text file left there",
    r"\s+(?:[/\\]|[A-Za-z]:[/\\]|file:/)": "it begins with a blank in front of an absolute path",
}
ANY_FORM: Final = re.compile("|".join(f"({form})" for form in REFUSED_FORMS))
REASONS: Final = tuple(REFUSED_FORMS.values())


def refuse_form(path: str) -> None:
    """Refuse ``path`` if it has one of these forms, with the reason."""
    found = ANY_FORM.match(path)
    if found and found.lastindex:
        raise Refused(REASONS[found.lastindex - 1])
