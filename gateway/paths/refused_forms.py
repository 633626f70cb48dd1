"""Forms of paths that are invalid or ambiguous. They are refused, never guessed."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from gateway.paths.refusal import Refused

# Invisible characters that programs put before a path: directional marks (as copied from Windows'
# Security tab), zero-width joiners and a soft hyphen.
INVISIBLE: Final = r"\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069"
# Straight quotes that are not closed, and the typographic ones that replace them.
QUOTE: Final = r"\"'`\u2018-\u201f\u00ab\u00bb\u2039\u203a"
ABSOLUTE: Final = r"[/\\]|[A-Za-z]:[/\\]|file:/"
# The start of a path (a pattern without groups) → why it is refused.
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
    rf"[{INVISIBLE}]+[{QUOTE}<]?(?:{ABSOLUTE})": "it begins with an invisible character, {}",
    rf"[{QUOTE}](?:{ABSOLUTE})": (
        "it begins with {} in front of an absolute path; write it without quotes"
    ),
    rf"<(?:{ABSOLUTE})": "it begins with < in front of an absolute path; write the path alone",
    rf"\s+(?:{ABSOLUTE})": "it begins with a blank in front of an absolute path",
}
ANY_FORM: Final = re.compile("|".join(f"({form})" for form in REFUSED_FORMS))
REASONS: Final = tuple(REFUSED_FORMS.values())


def refuse_form(path: str) -> None:
    """Refuse ``path`` if it has one of these forms."""
    found = ANY_FORM.match(path)
    if found and found.lastindex:
        # The first character is named: it may be invisible, or look like another.
        raise Refused(REASONS[found.lastindex - 1].format(_name(path[0])))


def _name(letter: str) -> str:
    return f"U+{ord(letter):04X} ({unicodedata.name(letter, '?').lower()})"
