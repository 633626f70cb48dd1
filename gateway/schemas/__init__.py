"""The shapes of what the API says: plain dictionaries, typed for mypy and for its description.

The description of the API is made from them, docstrings included: they are written for callers.
"""
