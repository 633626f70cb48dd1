"""Submit a cache job and follow it until it ends, with nothing but requests.

    API_URL=http://localhost:8095/api/v1 API_KEY=demo-api-key-2024 \\
        python examples/poll_job.py 00_Media/Farm

POLL_SECONDS is the time between two looks (default 5). Ends with code 0 if the job completed.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import requests

API_URL = os.environ.get("API_URL", "http://localhost:8095/api/v1")
API_KEY = os.environ.get("API_KEY", "demo-api-key-2024")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
ENDS = ("completed", "failed", "cancelled")


def call(method: str, path: str, **arguments: Any) -> Any:
    """Make a request; what the gateway refuses ends the program with its own sentence."""
    response = requests.request(
        method, f"{API_URL}{path}", headers={"X-API-Key": API_KEY}, timeout=60, **arguments
    )
    body = response.json()
    if not body["success"]:
        sys.exit(f"Refused: {body['error']}")
    return body


def create_cache_job(files: list[str] | None = None, directories: list[str] | None = None) -> Any:
    body = {"files": files, "directories": directories}
    return call("POST", "/cache/jobs", json={name: value for name, value in body.items() if value})


def get_job(job_id: str) -> Any:
    return call("GET", f"/cache/jobs/{job_id}")["job"]


def show(job: Any) -> None:
    size = job["progress"]["size"]
    print(f"Progress: {size['completedReadable']} / {size['totalReadable']}")
    if job["throughput"]:
        print(f"Speed: {job['throughput']['readable']}")


def main(directories: list[str]) -> None:
    created = create_cache_job(directories=directories)
    print(f"Created job: {created['jobId']}")
    print(f"Total size: {created['totalSize']['readable']}")
    while True:
        job = get_job(created["jobId"])
        show(job)
        if job["status"] in ENDS:
            break
        time.sleep(POLL_SECONDS)
    print(f"The job is {job['status']}.")
    sys.exit(job["status"] != "completed")


if __name__ == "__main__":
    main(sys.argv[1:] or ["00_Media/Farm"])
