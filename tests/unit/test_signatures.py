"""Valid and invalid signatures, on a manual clock, and the RFC's example."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import ED25519
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.auth.api_keys import ApiKeys, StoredKey
from gateway.auth.callers import Grants, Scope
from gateway.auth.nonce_cache import NonceCache
from gateway.auth.public_keys import read_public_key
from gateway.auth.signatures import MAX_NONCE_LENGTH, Message, Signature, Signatures, check_digest
from gateway.errors import InvalidSignature, Starting
from support.signing_kit import (
    MUTATED,
    USUAL,
    Headers,
    Signer,
    digest_of,
    inner_list,
    mutate,
    signature_base,
)

NOW = 1_790_000_000
URL = "http://gateway:8095/api/v1/cache/jobs?limit=1"
BODY = b'{"files": ["a"]}'

# RFC 9421, appendices B.1.4, B.2 and B.2.6.
# The private key without PEM's header and footer, which secret scanners look for.
RFC_PRIVATE = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"
RFC_PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----"""
RFC_URL = "https://example.com/foo?param=Value&Pet=dog"
RFC_COVERED = ("date", "@method", "@path", "@authority", "content-type", "content-length")
RFC_PARAMETERS = {"created": 1618884473, "keyid": "test-key-ed25519"}
RFC_SIGNATURE = (
    "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
)
RFC_HEADERS = {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Digest": "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNye"
    "aldVLvRwEmTHWXvJwew==:",
    "Content-Length": "18",
}


def rfc_message() -> Message:
    head = {
        "Signature-Input": f"sig-b26={inner_list(RFC_COVERED, RFC_PARAMETERS)}",
        "Signature": f"sig-b26=:{RFC_SIGNATURE}:",
    }
    return Message("POST", RFC_URL, CIMultiDict(RFC_HEADERS | head))


def keys_of(*signers: Signer) -> ApiKeys:
    keys = ApiKeys("the key of the settings")
    grants = Grants(frozenset({Scope.JOBS_READ}))
    keys.load(
        [StoredKey(it.name, it.name.encode(), grants, public_key=it.public) for it in signers]
    )
    return keys


SIGNER = Signer(private=Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def check(
    headers: Headers,
    url: str = URL,
    method: str = "POST",
    *,
    has_body: bool = True,
    at: float = NOW,
) -> Signature:
    signatures = Signatures(keys_of(SIGNER), 300.0, lambda: at)
    return signatures.verify(Message(method, url, CIMultiDict(headers)), has_body=has_body)


def sign(url: str = URL, body: bytes | None = BODY, **more: Any) -> Headers:
    return SIGNER.sign("POST", url, body, **({"created": NOW, "nonce": "n"} | more))


def refusal(headers: Headers, **more: Any) -> str:
    with pytest.raises(InvalidSignature) as refused:
        check(headers, **more)
    return refused.value.message


# The RFC's example


def test_the_rfcs_ed25519_signature_is_right() -> None:
    key = Ed25519PublicKey.from_public_bytes(read_public_key(RFC_PUBLIC))
    resolver = MappingKeyResolver(public_keys={"test-key-ed25519": key}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=ED25519, key_resolver=resolver)
    [result] = verifier.verify(rfc_message(), max_age=None)
    assert list(result.covered_components)[:-1] == [f'"{name}"' for name in RFC_COVERED]
    check_digest(RFC_HEADERS["Content-Digest"], b'{"hello": "world"}')


def test_the_tests_own_signer_makes_the_rfcs_signature() -> None:
    private = load_der_private_key(base64.b64decode(RFC_PRIVATE), None)
    assert isinstance(private, Ed25519PrivateKey)
    parameters = inner_list(RFC_COVERED, RFC_PARAMETERS)
    base = signature_base("POST", RFC_URL, RFC_HEADERS, RFC_COVERED, parameters)
    assert base64.b64encode(private.sign(base.encode())).decode() == RFC_SIGNATURE


def test_the_rfcs_signature_covers_too_little() -> None:
    signatures = Signatures(keys_of(SIGNER), 300.0, lambda: RFC_PARAMETERS["created"])
    with pytest.raises(InvalidSignature, match="lacks nonce, alg"):
        signatures.verify(rfc_message(), has_body=True)


# Valid


def test_a_valid_signature_has_a_key_a_nonce_and_an_expiry() -> None:
    found = check(sign())
    assert (found.key.name, found.nonce, found.end) == ("farm", "n", NOW + 300)
    assert found.digest == digest_of(BODY)
    assert check(sign(body=None), has_body=False).digest is None


def test_the_whole_uri_stands_for_its_parts() -> None:
    assert check(sign(covered=("@method", "@target-uri", "content-digest"))).nonce == "n"


def test_additional_covered_components_are_verified() -> None:
    covered = (*USUAL, "content-digest", "idempotency-key")
    headers = sign(covered=covered, headers={"Idempotency-Key": '"one"'})
    assert check(headers)
    assert "not that of its key" in refusal(headers | {"Idempotency-Key": '"two"'})


@pytest.mark.parametrize("label", ["sig", "sig1", "*x-y.z"])
def test_the_label_is_arbitrary(label: str) -> None:
    assert check(sign(label=label))


# Invalid

ALL = (*USUAL, "content-digest")


@pytest.mark.parametrize("missing", ALL)
def test_a_missing_component_is_named(missing: str) -> None:
    covered = [name for name in ALL if name != missing]
    assert refusal(sign(covered=covered)) == f"The signature does not cover {missing}"


def test_a_digest_that_is_there_must_be_covered_even_without_a_body() -> None:
    message = refusal(sign(covered=USUAL), has_body=False)
    assert message == "The signature does not cover content-digest"


@pytest.mark.parametrize("missing", ["created", "keyid", "nonce", "alg"])
def test_each_parameter_must_be_there(missing: str) -> None:
    assert refusal(sign(**{missing: None})) == f"The signature lacks {missing}"


@pytest.mark.parametrize("alg", ["hmac-sha256", "rsa-pss-sha512", "none", "ED25519", ""])
def test_no_other_algorithm_is_taken(alg: str) -> None:
    assert refusal(sign(alg=alg)) == 'The signature is made in another way than alg="ed25519"'


@pytest.mark.parametrize("nonce", ["", "n" * (MAX_NONCE_LENGTH + 1)])
def test_a_nonce_is_neither_empty_nor_long(nonce: str) -> None:
    assert refusal(sign(nonce=nonce)) == f"A signature's nonce has 1 to {MAX_NONCE_LENGTH} letters"


def test_an_unknown_keyid_is_refused() -> None:
    assert refusal(sign(keyid="somebody")) == "No key that signs has this keyid"


def test_a_signature_by_another_key_is_refused() -> None:
    headers = Signer().sign("POST", URL, BODY, created=NOW)
    assert refusal(headers) == "The signature is not that of its key for this request"


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "DELETE"},
        {"url": URL.replace("gateway", "elsewhere")},
        {"url": URL.replace("limit=1", "limit=2")},
        {"url": URL.replace("jobs", "job")},
    ],
    ids=str,
)
def test_a_request_that_was_changed_is_refused(changed: dict[str, Any]) -> None:
    assert refusal(sign(), **changed) == "The signature is not that of its key for this request"


def test_a_signature_over_what_is_not_there_is_refused() -> None:
    headers = sign(covered=(*ALL, "x-gone"), headers={"X-Gone": "1"})
    del headers["X-Gone"]
    assert refusal(headers) == "The signature covers something that cannot be found in this request"


def test_two_signatures_are_refused() -> None:
    one, two = sign(label="one"), sign(label="two", nonce="m")
    both = {it: f"{one[it]}, {two[it]}" for it in ("Signature-Input", "Signature")}
    assert refusal(one | both).startswith("A request bears one signature")


@pytest.mark.parametrize("name", ["Signature-Input", "Signature"])
@pytest.mark.parametrize(
    "value",
    [
        None, "", "sig", "sig=", "sig=()", "sig=1", 'sig="x"', "sig=::", "sig=:####:", "sig=:AA==:",
        "other=:AA==:", "\0", "é", "(" * 200, "sig=(" + '"a" ' * 1000 + ")", "sig=" + "(" * 900,
        "sig=?1", 'sig=("@method");created=1.5', 'sig=("@method";req);created=999999999999999',
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_malformed_headers_are_refused_with_a_sentence(name: str, value: str | None) -> None:
    headers = sign()
    headers.pop(name) if value is None else headers.update({name: value})
    message = refusal(headers)
    assert message.endswith((".", ")")) or " " in message
    assert value is None or len(value) < 5 or value not in message


def test_a_part_of_the_digest_does_not_count_as_the_digest() -> None:
    headers = sign()
    given = headers["Signature-Input"].replace('"content-digest"', '"content-digest";sf')
    assert refusal(headers | {"Signature-Input": given}).endswith("cover content-digest")


def test_before_the_keys_are_known_the_gateway_is_starting() -> None:
    signatures = Signatures(ApiKeys("key"), 300.0, lambda: NOW)
    with pytest.raises(Starting):
        signatures.verify(Message("POST", URL, CIMultiDict(sign())), has_body=True)


# Clocks


@pytest.mark.parametrize("at", [NOW - 60, NOW - 1, NOW, NOW + 299])
def test_a_signature_is_valid_for_the_window_and_a_small_clock_skew(at: int) -> None:
    assert check(sign(), at=at).end == NOW + 300


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        (NOW + 300, "The signature is 300 s old by this gateway's clock, and good for 300 s"),
        (NOW + 9e7, "The signature is 90000000 s old by this gateway's clock, and good for 300 s"),
        (NOW - 61, "The signature is of 61 s from now by this gateway's clock"),
    ],
)
def test_a_clock_skew_is_reported_in_seconds(at: float, sentence: str) -> None:
    assert refusal(sign(), at=at) == sentence


def test_a_short_window_is_short_in_both_directions() -> None:
    signatures = Signatures(keys_of(SIGNER), 5.0, lambda: NOW)
    for created, is_good in ((NOW - 5, False), (NOW - 4, True), (NOW + 5, True), (NOW + 6, False)):
        message = Message("POST", URL, CIMultiDict(sign(created=created)))
        if is_good:
            assert signatures.verify(message, has_body=True)
        else:
            with pytest.raises(InvalidSignature):
                signatures.verify(message, has_body=True)


def test_an_explicit_expiry_is_respected() -> None:
    assert check(sign(expires=NOW + 1))
    assert refusal(sign(expires=NOW)) == "The signature has expired"


@pytest.mark.parametrize("created", ["1790000000", "soon"])
def test_a_time_that_is_no_number_is_refused(created: str) -> None:
    assert refusal(sign(created=created)).startswith("A request bears one signature")


# Bodies


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_body_is_compared_with_its_digest(algorithm: str) -> None:
    check_digest(digest_of(BODY, algorithm), BODY)
    with pytest.raises(InvalidSignature, match="not what Content-Digest says"):
        check_digest(digest_of(BODY, algorithm), BODY + b" ")


@pytest.mark.parametrize(
    "digest", ["", "sha-256", "sha-256=1", "sha-256=::", digest_of(BODY, "sha1"), "\0", "a=:AA==:"]
)
def test_an_unusable_digest_is_refused(digest: str) -> None:
    with pytest.raises(InvalidSignature):
        check_digest(digest, BODY)


def test_each_of_several_digests_must_be_right() -> None:
    right, wrong = digest_of(BODY), digest_of(b"", "sha512")
    with pytest.raises(InvalidSignature):
        check_digest(f"{right}, {wrong}", BODY)


# Nonces in memory


def test_a_nonce_counts_once_until_its_end() -> None:
    nonces = NonceCache()
    assert nonces.spend("a", "n", 10.0, 0.0)
    assert not nonces.spend("a", "n", 10.0, 9.9)
    assert nonces.spend("b", "n", 10.0, 9.9)
    assert nonces.spend("a", "n", 20.0, 10.0)


def test_key_names_and_nonces_cannot_be_confused() -> None:
    nonces = NonceCache()
    assert nonces.spend("a", "b c", 10.0, 0.0)
    assert nonces.spend("a b", "c", 10.0, 0.0)


def test_memory_for_nonces_is_bounded_and_released() -> None:
    nonces = NonceCache(limit=3)
    for number in range(5):
        assert nonces.spend("a", str(number), 10.0 + number, 0.0)
    assert len(nonces) == 3 and not nonces.spend("a", "4", 14.0, 0.0)
    assert nonces.spend("a", "5", 30.0, 20.0) and len(nonces) == 1


# Any input


@given(name=st.sampled_from(["Signature-Input", "Signature", "Content-Digest"]), changes=MUTATED)
@example(name="Signature-Input", changes=[(0, 0, "")])
def test_a_mutated_signature_is_valid_or_refused(
    name: str, changes: list[tuple[int, int, str]]
) -> None:
    headers = sign()
    headers[name] = mutate(headers[name], changes)
    try:
        assert check(headers).key.name == "farm"
    except InvalidSignature as refused:
        assert refused.message


def test_the_clock_of_the_tests_is_a_time_like_ours() -> None:
    assert datetime.fromtimestamp(NOW, UTC).year == 2026
