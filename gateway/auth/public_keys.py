"""Reads Ed25519 public keys of signed requests, in the common file formats."""

from __future__ import annotations

import base64
import re
from binascii import Error
from hashlib import sha256
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

from gateway.errors import InvalidRequest

KEY_BYTES: Final = 32
FORMS: Final = "PEM, a line of OpenSSH that begins with ssh-ed25519, or 32 bytes in base64"
SSH_LINE: Final = re.compile(rb"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+ ")
# The prefix of an Ed25519 key in OpenSSH's binary format.
SSH_HEAD: Final = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"


def read_public_key(text: bytes) -> bytes:
    """The 32 bytes of the key in a file. Raises `InvalidRequest` with what the file is."""
    text = text.strip()
    if b"PRIVATE KEY-----" in text:
        raise InvalidRequest("This is a private key, which must stay where it is: give the public")
    if text.startswith(b"-----BEGIN") or SSH_LINE.match(text):
        return _raw(_load(text))
    text = text.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        key = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidRequest(f"This is no public key: {FORMS}")
    return key


def fingerprint(key: bytes) -> str:
    """``SHA256:…``, as ``ssh-keygen -l`` prints it."""
    digest = base64.b64encode(sha256(SSH_HEAD + key).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def _load(text: bytes) -> object:
    load = load_pem_public_key if text.startswith(b"-----BEGIN") else load_ssh_public_key
    try:
        return load(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidRequest(f"This public key cannot be read: {FORMS}") from None


def _raw(key: object) -> bytes:
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidRequest("Only Ed25519 keys can sign requests, and this is another kind")
    return key.public_bytes_raw()
