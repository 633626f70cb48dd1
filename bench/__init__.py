"""Our work beside its floor, in one run: `python -m bench` (or `make bench`)."""
