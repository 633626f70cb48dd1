"""Mangled requests, bodies and frames, the same ones for the same seed."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

KEY = b"X-API-Key: demo-api-key-2024\r\n"
JOB = b"6bb4629b-1487-477c-96fe-b762d82a099b"
SUBMIT = b'{"files": ["a/1.mov"], "directories": ["a"], "recursive": true}'
JSON = b"Content-Type: application/json\r\n"


def _request(line: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    return line + b" HTTP/1.1\r\nHost: localhost\r\n" + KEY + headers + b"\r\n" + body


def _submit(headers: bytes, body: bytes) -> bytes:
    return _request(b"POST /api/v1/cache/jobs", JSON + headers, body)


def submit(body: bytes) -> bytes:
    return _submit(b"Content-Length: %d\r\n" % len(body), body)


CORPUS = (
    *(
        _request(b"GET " + path)
        for path in (
            b"/livez", b"/api/v1/health", b"/api/v1/metrics", b"/api/v1/metrics/s3",
            b"/api/v1/openapi.json", b"/docs", b"/docs/docs.css", b"/ws", b"/nothing/here",
            b"/api/v1/cache/jobs?status=running&limit=5&offset=1", b"/api/v1/cache/jobs/" + JOB,
            b"/api/v1/cache/jobs/" + JOB + b"/files?status=failed&limit=3",
        )
    ),
    _request(b"DELETE /api/v1/cache/jobs/" + JOB),
    _request(b"OPTIONS /api/v1/cache/jobs", b"Origin: http://x\r\nAccess-Control-Request-Method: "
             b"POST\r\n"),
    _request(b"HEAD /api/v1/health"),
    _request(b"GET /api/v1/cache/jobs/" + JOB, b'If-None-Match: "x", W/"y"\r\n'),
    _request(b"GET /api/v1/metrics", b"Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"),
    _request(b"GET /ws", b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
             b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    submit(SUBMIT),
    _submit(b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(SUBMIT), SUBMIT)),
    _submit(b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(SUBMIT), SUBMIT),
    _submit(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(gzip.compress(SUBMIT)),
            gzip.compress(SUBMIT)),
)  # fmt: skip
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"%", b"%00", b"%2e%2e/", b"../",
    b"//", b"?", b"#", b"\xff\xfe", "ü".encode(), b"HTTP/9.9", b"HTTP/1.0", b"-1", b"0x10",
    b"99999999999999999999", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n", b"Content-Encoding: deflate\r\n", b"Host: y\r\n",
    b"X-Forwarded-For: 1.2.3.4, x\r\n", b"X-Request-ID: \x01\r\n", b"A" * 9000, b"[" * 3000,
    b"Range: bytes=0-1,5-\r\n", b"Cookie: a=b; =; \x80\r\n", b"X-API-Key: other\r\n",
)  # fmt: skip
WORDS = (
    "files", "directories", "recursive", "a/1.mov", "a", "", "/", "..", "../x", "a\0b", "C:\\x",
    "/media/lucidlink-1/a", "\\\\server\\x", "ü" * 300, "/Volumes/x/y", "%", "_", "a//b/", "🎬",
)  # fmt: skip
ATOMS: tuple[Any, ...] = (None, True, False, 0, -1, 2**63, 1e308, 0.1, [], {})
TYPES = ("auth", "subscribe", "unsubscribe", "ping", "pong", "")


def mangled_request(chance: random.Random) -> bytes:
    """A request of the corpus to which one to three things happened."""
    data = bytearray(chance.choice(CORPUS))
    for _ in range(chance.randint(1, 3)):
        chance.choice((_flip, _cut, _repeat, _insert, _insert, _noise, _splice))(data, chance)
    return bytes(data)


def _span(data: bytearray, chance: random.Random) -> slice:
    start = chance.randint(0, len(data))
    return slice(start, min(len(data), start + chance.choice((1, 2, 8, 40, 400))))


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[_span(data, chance)]


def _repeat(data: bytearray, chance: random.Random) -> None:
    part = data[_span(data, chance)]
    place = chance.randint(0, len(data))
    data[place:place] = part * chance.choice((1, 2, 30))


def _insert(data: bytearray, chance: random.Random) -> None:
    place = chance.randint(0, len(data))
    data[place:place] = chance.choice(TOKENS)


def _noise(data: bytearray, chance: random.Random) -> None:
    data[_span(data, chance)] = chance.randbytes(chance.randint(0, 20))


def _splice(data: bytearray, chance: random.Random) -> None:
    data[chance.randint(0, len(data)) :] = chance.choice(CORPUS)[chance.randint(0, 200) :]


def any_json(chance: random.Random, depth: int = 0) -> Any:
    """A value that JSON can write, out of words that mean something here."""
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice(WORDS) if chance.random() < 0.6 else chance.choice(ATOMS)
    several = [any_json(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    if kind < 0.75:
        return several
    return {chance.choice(WORDS): one for one in several}


def odd_submit(chance: random.Random) -> bytes:
    """A well-formed request with a body that may be nearly right."""
    body: dict[str, Any] = {}
    for name in ("files", "directories"):
        if chance.random() < 0.7:
            several = [chance.choice(WORDS) for _ in range(chance.randint(0, 5))]
            body[name] = several if chance.random() < 0.7 else any_json(chance)
    if chance.random() < 0.3:
        body["recursive"] = any_json(chance)
    if chance.random() < 0.2:
        body[chance.choice(WORDS)] = any_json(chance)
    text = json.dumps(body if chance.random() < 0.9 else any_json(chance))
    return submit(text.encode("utf-8", "surrogatepass"))


def message(chance: random.Random) -> bytes:
    """What a WebSocket client might say, or nearly."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randint(0, 200))
    known: dict[str, Any] = {"type": chance.choice(TYPES)}
    choices = {
        "channel": ("jobs", "job", "x"),
        "jobId": (JOB.decode(), "x", ""),
        "files": (True, False, 1),
        "apiKey": ("demo-api-key-2024", "x", None),
    }
    for name, values in choices.items():
        if chance.random() < 0.6:
            known[name] = chance.choice(values) if chance.random() < 0.8 else any_json(chance)
    return json.dumps(known if chance.random() < 0.9 else any_json(chance)).encode()


def frames(chance: random.Random) -> bytes:
    """A message as frames: whole, in pieces, or against the protocol."""
    data = message(chance) if chance.random() < 0.99 else b"x" * chance.choice((65_536, 70_000))
    # A text that is no UTF-8 ends the connection, bytes that are no JSON do not.
    opcode = 0x01 if _is_text(data) or chance.random() < 0.02 else 0x02
    kind = chance.random()
    if kind < 0.6:
        return _frame(0x80 | opcode, data, chance)
    if kind < 0.9:
        cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(1, 4)))
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        first, *rest = parts
        middle = b"".join(_frame(0x00, one, chance) + _control(chance) for one in rest[:-1])
        return _frame(opcode, first, chance) + middle + _frame(0x80, rest[-1], chance)
    if kind < 0.98:
        return _control(chance)
    return _frame(chance.randrange(256), data, chance)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _control(chance: random.Random) -> bytes:
    return _frame(chance.choice((0x89, 0x8A)), chance.randbytes(chance.randint(0, 125)), chance)


def _frame(first: int, data: bytes, chance: random.Random) -> bytes:
    mask = chance.randbytes(4)
    if len(data) < 126:
        head = bytes([first, 0x80 | len(data)])
    elif len(data) < 65_536:
        head = bytes([first, 0xFE]) + len(data).to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + len(data).to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
