"""The signature algorithms accepted for tokens: asymmetric ones only.

No shared secrets (HS256), and no unsigned tokens. Source: RFC 7518, section 3.1; RFC 8037.
"""

from __future__ import annotations

from typing import Final, Literal

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]

DEFAULT_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256", "EdDSA")
