"""Relative paths of names that a filesystem may hold, for properties that hold for all of them."""

from __future__ import annotations

from hypothesis import strategies as st

NAME = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", ".."))
NAMES = st.lists(NAME, min_size=1, max_size=5).map("/".join)
