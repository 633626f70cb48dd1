"""Have directories cached, and follow the job by asking for it every few seconds.

Usage: python poll_job.py DIRECTORY...
Ends with code 0 if the job completed.
"""

import os
import sys
import time

import requests

API = os.environ.get("GATEWAY_URL", "http://localhost:8095") + "/api/v1"
KEY = os.environ.get("GATEWAY_KEY", "demo-api-key-2024")
POLL_SECONDS = float(os.environ.get("GATEWAY_POLL_SECONDS", "5"))
ENDS = ("completed", "failed", "cancelled")


def main(directories):
    with requests.Session() as session:
        session.headers["X-API-Key"] = KEY
        job_id = submit(session, directories)
        job = follow(session, job_id)
    print(f"The job is {job['status']}" + (f": {job['error']}" if job["error"] else ""))
    return job["status"] == "completed"


def submit(session, directories):
    created = ask(session, "POST", "/cache/jobs", json={"directories": directories})
    print(f"Job {created['jobId']}: {created['totalFiles']} files")
    print(f"To be read: {created['totalSize']['readable']}", flush=True)
    return created["jobId"]


def follow(session, job_id):
    """Show the job until it has ended; gives it as it ended."""
    while True:
        job = ask(session, "GET", f"/cache/jobs/{job_id}")["job"]
        show(job)
        if job["status"] in ENDS:
            return job
        time.sleep(POLL_SECONDS)


def show(job):
    size = job["progress"]["size"]
    line = f"Read: {size['completedReadable']} of {size['totalReadable']}"
    # There is a throughput only while the job runs and somebody has measured it lately.
    if job["throughput"]:
        line += f", at {job['throughput']['readable']}"
    print(line, flush=True)


def ask(session, method, path, **body):
    try:
        response = session.request(method, API + path, timeout=60, **body)
    except requests.RequestException:
        sys.exit(f"No answer from {API}")
    if not response.ok:
        # Every refusal says in one sentence what is wrong: an unknown folder, too many requests …
        sys.exit(f"{response.status_code}: {response.json()['error']}")
    return response.json()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    sys.exit(0 if main(sys.argv[1:]) else 1)
