"""A server with as much of S3's API as snapshots need; it recomputes what it is told of the body and the signature."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from kubelite.backup.s3 import Credentials, signed_headers

KEYS = Credentials("AKEXAMPLE", "a secret/+")
REGION = "us-east-1"
PAGE = 2  # names in one answer


class FakeBucket:
    """The objects by key, `down` to refuse everything, and the requests that came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects: dict[str, bytes] = {}
        self.down = False
        self.requests: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    bucket: FakeBucket

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self._is_allowed(body):
            self.bucket.objects[self._key] = body
            self._answer(200)

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        split = urlsplit(self.path)
        if "list-type=2" in split.query:
            self._list(parse_qs(split.query))
        elif (content := self.bucket.objects.get(self._key)) is None:
            self._refuse(404, "NoSuchKey", "The specified key does not exist.")
        else:
            self._answer(200, content)

    def do_DELETE(self) -> None:
        if self._is_allowed():
            self.bucket.objects.pop(self._key, None)
            self._answer(204)

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).split("/", 2)[2]

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix = query["prefix"][0] if "prefix" in query else ""
        after = query.get("continuation-token", [""])[0]
        keys = [
            key for key in sorted(self.bucket.objects) if key.startswith(prefix) and key > after
        ]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.bucket.objects[key])}</Size></Contents>"
            for key in keys[:PAGE]
        )
        more = "".join(
            f"<NextContinuationToken>{escape(key)}</NextContinuationToken>"
            for key in keys[PAGE - 1 : len(keys) - 1][:1]
        )
        self._answer(
            200,
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{items}{more}</ListBucketResult>".encode(),
        )

    def _is_allowed(self, body: bytes = b"") -> bool:
        self.bucket.requests.append(f"{self.command} {self.path}")
        if self.bucket.down:
            self._refuse(503, "SlowDown", "Please reduce your request rate.")
            return False
        given = {name.lower(): value for name, value in self.headers.items()}
        names = given["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        again = signed_headers(
            self.command,
            f"{self.bucket.url}{self.path}",
            {name: given[name] for name in names if not name.startswith(("x-amz", "host"))},
            hashlib.sha256(body).hexdigest(),
            KEYS,
            REGION,
            datetime.strptime(given["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        )
        if again["authorization"] == given["authorization"]:
            return True
        self._refuse(
            403, "SignatureDoesNotMatch", "The request signature we calculated does not match."
        )
        return False

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(
            status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        )

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fake_bucket() -> Iterator[FakeBucket]:
    """Run the server in a thread."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    bucket = FakeBucket(f"http://127.0.0.1:{server.server_address[1]}")
    handler.bucket = bucket  # type: ignore[attr-defined]  # a class made just now
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
