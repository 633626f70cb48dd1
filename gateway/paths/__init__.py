"""What a client typed → a path in the filespace. Pure functions, no I/O.

A path is read by the first of these rules that fits it:

1. Under the mount point: literal, as the index has it. Nothing is unquoted, ``\\`` is a letter.
2. Under the mount point's parent, but not under the mount point: refused.
3. A form in which nothing can be named (``~/a``, ``C:a``, ``https://…``): refused.
4. Absolute, as a workstation sees it: the component after a known client root is the filespace,
   if it looks like one (`gateway.paths.client_roots`); what follows is the path in it.
5. Any other absolute path: refused.
6. Relative: a path in the filespace; ``\\`` and ``/`` both separate.

Doubled separators, ``.`` and trailing slashes mean nothing; ``..`` may not leave the filespace.
The whole filespace is named by its mount point or by a client's path of it, never by an empty or
folded path.
"""

from gateway.paths.filespace import Filespace
from gateway.paths.refusal import quote
from gateway.paths.resolver import resolve, resolve_all

__all__ = ["Filespace", "quote", "resolve", "resolve_all"]
