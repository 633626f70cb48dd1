"""Keys in the formats of common programs, and invalid ones."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.auth.public_keys import fingerprint, read_public_key
from gateway.client import GatewayClient, GatewayClientError, SigningKey
from gateway.errors import InvalidRequest
from support.optional_programs import require_program

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
RAW = PUBLIC.public_bytes_raw()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
SSH = PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
OTHER = generate_private_key(SECP256R1())
OTHER_PUBLIC = OTHER.public_key()


def private(form: PrivateFormat, passphrase: bytes = b"", key: object = PRIVATE) -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    written: bytes = key.private_bytes(Encoding.PEM, form, encryption)  # type: ignore[attr-defined]
    return written


@pytest.mark.parametrize(
    "text",
    [
        PEM, PEM.replace(b"\n", b"\r\n"), b"\n" + PEM + b"\n\n", SSH, SSH + b" somebody@studio\n",
        base64.b64encode(RAW), base64.b64encode(RAW).rstrip(b"=") + b"\n",
        base64.urlsafe_b64encode(RAW),
    ],
)  # fmt: skip
def test_a_public_key_is_read_in_each_form(text: bytes) -> None:
    assert read_public_key(text) == RAW


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (private(PrivateFormat.PKCS8), "This is a private key, which must stay where it is"),
        (private(PrivateFormat.OpenSSH), "This is a private key, which must stay where it is"),
        (
            OTHER_PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "Only Ed25519",
        ),
        (OTHER_PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "Only Ed25519"),
        (PEM[:60], "This public key cannot be read"),
        (SSH[:40], "This public key cannot be read"),
        (b"ssh-ed25519 AAAA", "This public key cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "cannot be read"),
        (b"", "This is no public key: PEM, a line of OpenSSH"),
        (base64.b64encode(RAW[:31]), "This is no public key"),
        (base64.b64encode(RAW + b"x"), "This is no public key"),
        (RAW, "This is no public key"),
        (b"\xff\xfe\0", "This is no public key"),
        ("schlüssel".encode(), "This is no public key"),
    ],
)
def test_other_keys_are_refused_by_kind(text: bytes, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        read_public_key(text)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
def test_a_private_key_is_read_in_both_forms_and_not_shown(form: PrivateFormat) -> None:
    key = SigningKey.parse(private(form), "farm")
    assert key.private_key.public_key() == PUBLIC
    assert repr(key) == "SigningKey(key_id='farm')"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (private(PrivateFormat.PKCS8, b"secret"), "has a passphrase"),
        (private(PrivateFormat.PKCS8, key=OTHER), "Only Ed25519 keys"),
        (PEM, "This is no private key"),
        (SSH, "This is no private key"),
        (b"", "This is no private key"),
        (private(PrivateFormat.OpenSSH)[:90], "This is no private key"),
        (b"\xff\0", "This is no private key"),
    ],
)
def test_what_is_no_private_key_is_refused(text: bytes, sentence: str) -> None:
    with pytest.raises(GatewayClientError, match=sentence):
        SigningKey.parse(text, "farm")


def test_an_openssh_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    make(
        tmp_path, require_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "secret", "-f", "key"
    )
    with pytest.raises(GatewayClientError, match="has a passphrase"):
        SigningKey.load(tmp_path / "key", "farm")


@pytest.mark.parametrize("key_id", ["", "schlüssel", "a\nb"])
def test_an_id_that_is_invalid_in_a_header_is_refused(key_id: str) -> None:
    with pytest.raises(GatewayClientError, match="A key's id is the name"):
        SigningKey.parse(private(PrivateFormat.PKCS8), key_id)


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatewayClientError, match="missing cannot be read: No such file"):
        SigningKey.load(tmp_path / "missing", "farm")


async def test_a_client_has_one_key_of_either_kind() -> None:
    key = SigningKey("farm", PRIVATE)
    for keys in ({}, {"api_key": "x", "signing_key": key}):
        with pytest.raises(
            GatewayClientError, match="One of an API key, a token and a signing key"
        ):
            GatewayClient("http://localhost", **keys)


def make(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_keys_of_ssh_keygen_are_read_with_the_same_fingerprint(tmp_path: Path) -> None:
    program = require_program("ssh-keygen")
    make(tmp_path, program, "-q", "-t", "ed25519", "-N", "", "-f", "key")
    public = read_public_key((tmp_path / "key.pub").read_bytes())
    signing = SigningKey.load(tmp_path / "key", "farm")
    assert signing.private_key.public_key().public_bytes_raw() == public
    assert fingerprint(public) in make(tmp_path, program, "-l", "-f", "key.pub").split()


def test_keys_of_openssl_are_read(tmp_path: Path) -> None:
    program = require_program("openssl")
    make(tmp_path, program, "genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    make(tmp_path, program, "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
    public = read_public_key((tmp_path / "key.pub").read_bytes())
    signing = SigningKey.load(tmp_path / "key.pem", "farm")
    assert signing.private_key.public_key().public_bytes_raw() == public
