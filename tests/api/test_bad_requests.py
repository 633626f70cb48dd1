"""Requests that cannot be understood: each gets its status and a sentence, and changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import count_rows

JOBS = "/api/v1/cache/jobs"
JOB_ID = "6bb4629b-1487-477c-96fe-b762d82a099b"
BODY_LIMIT = 10 * 1024 * 1024


class Bad(NamedTuple):
    """What is sent, and what it must be answered with: ``says`` is a part of the sentence."""

    what: str
    body: bytes
    status: int
    says: str


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()


BODIES = [
    Bad("nothing", b"", 400, "is not valid JSON"),
    Bad("no JSON", b"files=a.mov", 400, "is not valid JSON"),
    Bad("half a body", b'{"files": ["a.mov"', 400, "is not valid JSON"),
    Bad("two bodies", b'{"files": ["a"]}{"files": ["b"]}', 400, "is not valid JSON"),
    Bad("a comment", b'{"files": ["a"] // one\n}', 400, "is not valid JSON"),
    Bad("NaN", b'{"files": [NaN]}', 400, "is not valid JSON"),
    Bad("no UTF-8", b'{"files": ["\xff\xfe"]}', 400, "is not valid JSON"),
    Bad("UTF-16", '{"files": ["a"]}'.encode("utf-16"), 400, "is not valid JSON"),
    Bad("a byte order mark", b'\xef\xbb\xbf{"files": ["a"]}', 400, "is not valid JSON"),
    Bad("a lone surrogate", b'{"files": ["\\ud800"]}', 400, "is not valid JSON"),
    Bad("a deep list", b"[" * 100_000, 400, "is not valid JSON"),
    Bad("deep objects", b'{"files":' * 100_000, 400, "is not valid JSON"),
    Bad("a list", raw(["a.mov"]), 400, "must be a JSON object"),
    Bad("a string", raw("a.mov"), 400, "must be a JSON object"),
    Bad("null", raw(None), 400, "must be a JSON object"),
    Bad("neither field", raw({}), 400, "At least one file or directory is required"),
    Bad("only recursive", raw({"recursive": True}), 400, "At least one file or directory"),
    Bad("two empty lists", raw({"files": [], "directories": []}), 400, "At least one file"),
    Bad("files as a string", raw({"files": "a.mov"}), 400, "files: "),
    Bad("files as an object", raw({"files": {"a": 1}}), 400, "files: "),
    Bad("files as null", raw({"files": None, "directories": ["a"]}), 400, "files: "),
    Bad("a number among files", raw({"files": ["a", 1]}), 400, "files.1: "),
    Bad("null among directories", raw({"directories": [None]}), 400, "directories.0: "),
    Bad("a list among directories", raw({"directories": [["a"]]}), 400, "directories.0: "),
    Bad("recursive as text", raw({"files": ["a"], "recursive": "false"}), 400, "recursive: "),
    Bad("recursive as a number", raw({"files": ["a"], "recursive": 0}), 400, "recursive: "),
    Bad("recursive as null", raw({"files": ["a"], "recursive": None}), 400, "recursive: "),
    Bad("an unknown field", raw({"files": ["a"], "recursiv": 1}), 400, "Unknown field: recursiv"),
    Bad("a field in capitals", raw({"Files": ["a"]}), 400, "Unknown field: Files"),
    Bad("a NUL byte in a path", raw({"files": ["a\0b"]}), 400, "it contains a control character"),
    Bad("a line break in a path", raw({"files": ["a\nb"]}), 400, "it contains a control char"),
    Bad("a million ../", raw({"files": ["../" * 1_000_000]}), 400, "longer than 4096 bytes"),
    Bad("a way out", raw({"files": ["a/../../etc/passwd"]}), 400, "leads out of the filespace"),
    Bad("another folder", raw({"files": ["/etc/passwd"]}), 400, "not in the filespace"),
    Bad("a long name", raw({"files": ["a" * 256]}), 400, "longer than 255 bytes"),
    Bad("100,001 names", raw({"files": ["a"] * 100_001}), 413, "At most 100,000 names"),
    Bad(
        "100,001 names in two lists",
        raw({"files": ["a"] * 50_000, "directories": ["b"] * 50_001}),
        413,
        "At most 100,000 names",
    ),
    Bad("a million numbers", raw({"files": [1] * 1_000_000}), 400, "files.0: "),
    Bad("100,000 unknown fields", raw(dict.fromkeys(map(str, range(100_000)))), 400, "Unknown"),
    Bad("a line break in a field name", raw({"a\nb": 1}), 400, "Unknown field: a\\nb"),
    Bad("an endless field name", raw({"x" * 1_000_000: 1}), 400, "Unknown field: xxx"),
    Bad("10 MB and a byte", b" " * (BODY_LIMIT + 1), 413, "Request body is too large"),
]


@pytest.fixture
async def api(start_shared_api: StartApi, shared_database: Settings) -> AsyncIterator[Any]:
    """An API that must create nothing in this test."""
    yield await start_shared_api()
    assert count_rows(shared_database) == (0, 0)


async def check(response: Any, status: int, says: str = "") -> dict[str, Any]:
    """The answer has the status, is JSON, and says one short sentence."""
    body: dict[str, Any] = await response.json()
    assert (response.status, body["success"]) == (status, False), body
    assert set(body) <= {"success", "error", "details"}
    assert says in body["error"]
    assert "\n" not in body["error"]
    assert len(body["error"]) < 500
    assert "X-Request-ID" in response.headers
    return body


@pytest.mark.parametrize("bad", BODIES, ids=lambda bad: bad.what)
async def test_a_body_that_cannot_be_understood_is_refused(api: Any, bad: Bad) -> None:
    response = await api.post(JOBS, data=bad.body, headers={"Content-Type": "application/json"})
    body = await check(response, bad.status, bad.says)
    assert len(json.dumps(body)) < 50_000


async def test_everything_that_is_wrong_is_told_at_once(api: Any) -> None:
    response = await api.post(JOBS, json={"files": [1], "recursive": 0, "x": 1})
    body = await check(response, 400)
    assert [detail.partition(":")[0] for detail in body["details"]] == [
        "files.0",
        "recursive",
        "Unknown field",
    ]


async def test_a_body_of_exactly_10_mb_is_read(api: Any) -> None:
    body = b"{}".ljust(BODY_LIMIT)
    response = await api.post(JOBS, data=body, headers={"Content-Type": "application/json"})
    await check(response, 400, "At least one file or directory is required")


async def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_large(api: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 1024 * 1024

    response = await api.post(JOBS, data=endless(), headers={"Content-Type": "application/json"})
    await check(response, 413, "Request body is too large")


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(api: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * (BODY_LIMIT + 1))
    await check(await api.post(JOBS, data=bomb, headers=headers), 413, "Request body is too large")


async def test_a_packed_body_that_cannot_be_unpacked_is_refused(api: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await check(await api.post(JOBS, data=b"no gzip", headers=headers), 400, "request body")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", "x"],
)
async def test_a_body_of_another_content_type_is_refused(api: Any, content_type: str) -> None:
    body = b'{"files": ["a.mov"]}'
    response = await api.post(JOBS, data=body, headers={"Content-Type": content_type})
    await check(response, 415, "Content-Type must be application/json")


async def test_a_body_without_content_type_is_refused(api: Any) -> None:
    response = await api.post(JOBS, data=b"{}", skip_auto_headers=["Content-Type"])
    await check(response, 415, "Content-Type must be application/json")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "job_id",
    [
        "x",
        "123",
        "null",
        "%00",
        "..%2f..",
        "%F0%9F%8E%AC",
        "%FF",
        JOB_ID[:-1],
        JOB_ID + "0",
        JOB_ID + "%0A",
        "%20" + JOB_ID,
        JOB_ID.replace("-", ""),
        f"%7B{JOB_ID}%7D",
        f"{{{JOB_ID}}}",
        f"urn:uuid:{JOB_ID}",
        JOB_ID.replace("6", "g", 1),
        JOB_ID.replace("6", "٦", 1),
        "'; DROP TABLE cache_jobs; --",
        "a" * 5000,
    ],
)
async def test_what_is_no_job_id_is_refused(api: Any, method: str, job_id: str) -> None:
    from yarl import URL

    url = URL(str(api.make_url(JOBS)) + f"/{job_id}", encoded=job_id.startswith("%"))
    body = await check(await api.session.request(method, url), 400)
    assert body == {"success": False, "error": "Invalid job ID format"}


@pytest.mark.parametrize("job_id", [JOB_ID, JOB_ID.upper(), "00000000-0000-0000-0000-000000000000"])
async def test_a_canonical_job_id_in_either_case_is_understood(api: Any, job_id: str) -> None:
    await check(await api.get(f"{JOBS}/{job_id}"), 404, "Job not found")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "limit must be a whole number from 1 to 100"),
        ("limit=-1", "limit must be"),
        ("limit=101", "limit must be"),
        ("limit=1000000000000000000000000", "limit must be"),
        ("limit=ten", "limit must be"),
        ("limit=1.5", "limit must be"),
        ("limit=1e1", "limit must be"),
        ("limit=", "limit must be"),
        ("limit=%2B5", "limit must be"),
        ("limit=%D9%A5", "limit must be"),
        ("offset=-1", "offset must be a whole number from 0 to 1000000000"),
        ("offset=9223372036854775808", "offset must be"),
        ("offset=x", "offset must be"),
        ("status=done", "status must be one of pending, running"),
        ("status=Pending", "status must be one of"),
        ("status=", "status must be one of"),
        ("status=%00", "status must be one of"),
        ("status=pending,running", "status must be one of"),
    ],
)
async def test_a_query_out_of_bounds_is_refused(api: Any, query: str, says: str) -> None:
    await check(await api.get(f"{JOBS}?{query}"), 400, says)


async def talk(api: Any, request: bytes) -> bytes:
    """Send bytes, then nothing more, and read the whole answer."""
    reader, writer = await asyncio.open_connection(api.server.host, api.server.port)
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


HEAD = (
    f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: demo-api-key-2024\r\n"
    "Content-Type: application/json\r\nConnection: close\r\n"
).encode()


@pytest.mark.parametrize(
    "rest",
    [
        b'Content-Length: 1000\r\n\r\n{"files": ["a.mov"]}',
        b'Transfer-Encoding: chunked\r\n\r\n14\r\n{"files": ["a.mov"]}\r\n',
        b'Transfer-Encoding: chunked\r\n\r\n14\r\n{"files"',
    ],
    ids=["with a length", "between chunks", "within a chunk"],
)
async def test_a_body_that_is_cut_off_creates_nothing_and_harms_nobody(
    api: Any, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await talk(api, HEAD + rest)
    assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert (await api.get(JOBS)).status == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_chunks_that_are_none_create_nothing(api: Any) -> None:
    answer = await talk(api, HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n")
    # aiohttp hangs up without a word if it reads them before any of our code runs.
    assert answer == b"" or answer.split(b" ")[1] == b"400"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children),
    max_leaves=10,
)
JOB_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "files": st.lists(st.text(max_size=20), max_size=4) | JSON_VALUES,
        "directories": st.lists(st.text(max_size=20), max_size=4) | JSON_VALUES,
        "recursive": st.booleans() | JSON_VALUES,
    },
)


async def test_no_json_whatever_makes_the_gateway_fail(start_api: StartApi) -> None:
    api = await start_api()
    loop = asyncio.get_running_loop()

    @hypothesis_settings(max_examples=100)
    @given(JOB_LIKE | JSON_VALUES)
    def throw(value: Any) -> None:
        asyncio.run_coroutine_threadsafe(expect_an_answer(api, value), loop).result(30)

    await asyncio.to_thread(throw)


async def expect_an_answer(api: Any, value: Any) -> None:
    body = json.dumps(value).encode()
    response = await api.post(JOBS, data=body, headers={"Content-Type": "application/json"})
    answer = await response.json()
    assert response.status in (201, 400), (value, answer)
    assert answer["success"] is (response.status == 201)


async def test_of_very_many_wrong_paths_the_first_thousand_are_told_and_all_are_counted(
    api: Any,
) -> None:
    wrong = [f"../{number}" for number in range(20_000)]
    response = await api.post(JOBS, json={"files": wrong})
    answer = await response.json()
    assert response.status == 400
    assert answer["error"].endswith("(and 19999 more)")
    assert [it["path"] for it in answer["details"]] == wrong[:1000]
