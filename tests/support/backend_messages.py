"""Messages as TeamCache Manager's backend sends them."""

from __future__ import annotations

MOUNT = "/media/lucidlink-1"

JOB = "6bb4629b-1487-477c-96fe-b762d82a099b"

STATS = {"type": "lucidlink-stats", "getMibps": 25.6, "getTimeMs": 12, "timestamp": 1755917000000}

VARNISH = {
    "type": "varnish-stats",
    "bytesUsed": 64424509440,
    "totalSpace": 85899345920,
    "usagePercentage": 75.0,
    "lastUpdated": "2025-08-23T03:00:00.000Z",
}

FILE = {
    "type": "cache-file-completed",
    "jobId": JOB,
    "filePath": f"{MOUNT}/00_Media/a.mov",
    "completedFiles": 1,
    "failedFiles": 0,
}
