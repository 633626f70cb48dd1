"""CloudWatch's endpoint, as far as pushing needs it: it checks signatures and keeps what came."""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.parsers import RpcV2CBORParser

KEYS = ("only-for-tests", "neither-is-this-one-secret")
SCOPE = re.compile(r"Credential=(\S+)/\d{8}/([\w-]+)/monitoring/aws4_request")
JSON = "application/x-amz-json-1.0"
EMPTY = {JSON: b"{}", "application/cbor": b"\xa0"}


@dataclass(frozen=True)
class Request:
    """What a client has asked for."""

    operation: str
    body: Mapping[str, Any]
    region: str


@dataclass
class CloudWatch:
    """The endpoint: where it is, and what came. ``status`` is what it answers."""

    port: int = 0
    status: int = 200
    requests: list[Request] = field(default_factory=list)

    @property
    def environment(self) -> Mapping[str, str]:
        """What leads a client here, with keys that are good here."""
        key_id, secret = KEYS
        return {
            "AWS_ENDPOINT_URL_CLOUDWATCH": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Keep a request that is signed well; the status to answer with."""
        scope = SCOPE.search(headers["authorization"])
        if scope is None or not _is_signed(path, headers, body, scope[2]):
            return 403
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.requests.append(Request(*_read(path, headers, body), region=scope[2]))
        return self.status


def _read(path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, Mapping[str, Any]]:
    """The operation with its parameters; which of two protocols to speak, the client chooses."""
    if headers["content-type"] == JSON:
        return headers["x-amz-target"].rpartition(".")[2], json.loads(body)
    told = RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body)))
    return path.rpartition("/")[2], told


def _is_signed(path: str, headers: Mapping[str, str], body: bytes, region: str) -> bool:
    names = re.search(r"SignedHeaders=([^,]+)", headers["authorization"])
    signed = {name: headers[name] for name in names[1].split(";")} if names else {}
    url = f"http://{headers['host']}{path}"
    request = AWSRequest(method="POST", url=url, headers=signed, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(*KEYS), "monitoring", region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return headers["authorization"].endswith(f"Signature={signer.signature(text, request)}")


@contextmanager
def running_cloudwatch() -> Iterator[CloudWatch]:
    """One on loopback."""
    cloudwatch = CloudWatch()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(cloudwatch.take(self.path, headers, body))
            answer = EMPTY[headers["content-type"]]
            self.send_header("smithy-protocol", "rpc-v2-cbor")
            self.send_header("Content-Type", headers["content-type"])
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cloudwatch.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield cloudwatch
        finally:
            server.shutdown()
            thread.join()
