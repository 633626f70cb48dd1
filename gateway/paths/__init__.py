r"""Resolves the path that a client typed to a path in a filespace. Pure functions, no I/O.

The first of these rules that matches a path applies:

1. Under a mount point (`Rule.MOUNT_POINT`): literal, as in the index. Nothing is unquoted, and
   ``\`` is an ordinary character.
2. A form that cannot name a file (``~/a``, ``C:a``, ``https://…``): refused.
3. Absolute, as a workstation sees it. If the settings list filespaces, the longest of their client
   roots that matches (`Rule.LISTED_ROOT`, `gateway.paths.listed_roots`). Otherwise the component
   after a known client root is the filespace, if it looks like one (`Rule.KNOWN_ROOT`,
   `gateway.paths.client_roots`). The rest is the path in the filespace.
4. A sibling of a mount point, and any other absolute path: refused.
5. Relative: a path in the only filespace (`Rule.RELATIVE`), or, with several filespaces, in the one
   that the first component names (`Rule.FILESPACE_NAME`); ``\`` and ``/`` both separate.

Repeated separators, ``.`` and trailing slashes are dropped; ``..`` may not leave the filespace. The
whole filespace is named by its mount point or by a client's absolute path of it, never by an empty
path or one that ``..`` empties.
"""

from gateway.paths.filespace import Filespace
from gateway.paths.filespaces import Filespaces
from gateway.paths.refusal import Problem, quote
from gateway.paths.resolver import PathTarget, Rule, explain_all, resolve, resolve_all

__all__ = [
    "Filespace",
    "Filespaces",
    "PathTarget",
    "Problem",
    "Rule",
    "explain_all",
    "quote",
    "resolve",
    "resolve_all",
]
