"""A stranger's text on one line: what cannot be shown could forge a log or command a terminal."""

from __future__ import annotations


def escaped(text: str) -> str:
    """``text`` with escapes for what cannot be shown, as Python writes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
