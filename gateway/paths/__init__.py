r"""What a client typed → a path in a filespace. Pure functions, no I/O.

A path is read by the first of these rules that fits it:

1. Under a mount point (`Rule.MOUNT_POINT`): literal, as the index has it. Nothing is unquoted,
   ``\`` is a letter.
2. A form in which nothing can be named (``~/a``, ``C:a``, ``https://…``): refused.
3. Absolute, as a workstation sees it. Where the settings list filespaces, the longest of their
   client roots that fits (`Rule.LISTED_ROOT`, `gateway.paths.listed_roots`). Else the component
   after a known client root is the filespace, if it looks like one (`Rule.KNOWN_ROOT`,
   `gateway.paths.client_roots`). What follows is the path in the filespace.
4. Beside a mount point, and any other absolute path: refused.
5. Relative: a path in the only filespace (`Rule.RELATIVE`), or, of several, in the one whose name
   comes first (`Rule.FILESPACE_NAME`); ``\`` and ``/`` both separate.

Doubled separators, ``.`` and trailing slashes mean nothing; ``..`` may not leave the filespace.
The whole filespace is named by its mount point or by a client's path of it, never by an empty or
folded path.
"""

from gateway.paths.filespace import Filespace
from gateway.paths.filespaces import Filespaces
from gateway.paths.refusal import Problem, quote
from gateway.paths.resolver import Place, Rule, explain_all, resolve, resolve_all

__all__ = [
    "Filespace",
    "Filespaces",
    "Place",
    "Problem",
    "Rule",
    "explain_all",
    "quote",
    "resolve",
    "resolve_all",
]
