"""Signature Version 4 against the examples of Amazon's documentation, and a client against a small server."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fakes.bucket import KEYS, REGION, FakeBucket, fake_bucket
from msgspec.structs import replace

from kubelite.backup.s3 import (
    EMPTY_SHA256,
    Bucket,
    BucketClient,
    BucketFailed,
    Credentials,
    Stored,
    signed_headers,
)
from kubelite.clock import SystemClock
from kubelite.limits import BUCKET_ANSWER, BUCKET_UPLOAD

# "Examples: Signature calculations", https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "https://examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("method", "path", "headers", "payload", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9"},
            EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle=",
            {},
            EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            {},
            EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_documentation(
    method: str, path: str, headers: dict[str, str], payload: str, signature: str
) -> None:
    now = datetime(2013, 5, 24, tzinfo=UTC)
    signed = signed_headers(method, HOST + path, headers, payload, EXAMPLE, "us-east-1", now)
    assert signed["authorization"].endswith(f"Signature={signature}")


@pytest.fixture
def there() -> Iterator[FakeBucket]:
    with fake_bucket() as bucket:
        yield bucket


def _client(there: FakeBucket, **changes: object) -> BucketClient:
    bucket = Bucket(there.url, REGION, "backups", "one/two", KEYS)
    return BucketClient(replace(bucket, **changes), SystemClock())


def test_a_file_goes_there_and_comes_back(there: FakeBucket, tmp_path: Path) -> None:
    client = _client(there)
    (tmp_path / "a").write_bytes(bytes(range(256)) * 10_000)
    for name in ("a b+c", "d", "e&f", "ü"):
        client.put(tmp_path / "a", name)
    there.objects["one/two/three/four"] = there.objects["other"] = b""
    assert set(there.objects) >= {"one/two/a b+c", "one/two/e&f", "one/two/ü"}
    size = (tmp_path / "a").stat().st_size
    listed = client.list()  # several pages
    assert [one for one in listed if "/" not in one.name] == [
        Stored(name, size) for name in ("a b+c", "d", "e&f", "ü")
    ]
    client.get("e&f", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    client.delete("d")
    client.delete("never there")
    assert "one/two/d" not in there.objects


def test_what_the_bucket_says_is_in_the_error(there: FakeBucket, tmp_path: Path) -> None:
    with pytest.raises(BucketFailed, match="404 NoSuchKey: The specified key does not exist"):
        _client(there).get("none", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(BucketFailed, match="403 SignatureDoesNotMatch"):
        _client(there, credentials=Credentials("AKEXAMPLE", "another")).list()
    there.down = True
    with pytest.raises(BucketFailed, match="503 SlowDown"):
        _client(there).list()


def test_a_bucket_that_is_away_is_said_so(there: FakeBucket) -> None:
    with pytest.raises(BucketFailed, match=r"cannot GET /backups at http://127.0.0.1:1: .*refused"):
        _client(there, endpoint="http://127.0.0.1:1").list()


def test_wrong_authorities_are_named(there: FakeBucket) -> None:
    with pytest.raises(BucketFailed, match="cannot use /dev/null"):
        _client(there, endpoint="https://127.0.0.1:1", authorities="/dev/null")


def test_a_snapshot_too_large_for_one_request_stays_here(there: FakeBucket, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(BUCKET_UPLOAD.value + 1)
    before = BUCKET_UPLOAD.times_reached
    with pytest.raises(BucketFailed, match="one request takes"):
        _client(there).put(tmp_path / "large", "large")
    assert (there.requests, BUCKET_UPLOAD.times_reached) == ([], before + 1)


def test_a_bucket_cannot_fill_the_disk(
    there: FakeBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.objects["one/two/large"] = bytes(1001)
    there.objects["one/two/fits"] = bytes(1000)
    monkeypatch.setattr(BUCKET_UPLOAD, "value", 1000)
    _client(there).get("fits", tmp_path / "fits")
    with pytest.raises(BucketFailed, match="cannot read large of backups/one/two: it is too large"):
        _client(there).get("large", tmp_path / "large")
    assert (tmp_path / "large").stat().st_size <= 1000


class _Answers(BaseHTTPRequestHandler):
    content = b""
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("content-length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (200, b"not XML", "cannot list backups: syntax error"),
        (200, b'<!DOCTYPE x [<!ENTITY a "a">]><x>&a;</x>', "it has a document type"),
        (200, b" " * (BUCKET_ANSWER.value + 1), "the answer is too large"),
        (307, b"", "307"),
        (500, b"<x/>", "500"),
    ],
)
def test_answers_of_another_kind_are_refused(status: int, content: bytes, message: str) -> None:
    handler = type("Handler", (_Answers,), {"status": status, "content": content})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        client = BucketClient(Bucket(url, REGION, "backups", "", KEYS), SystemClock())
        with pytest.raises(BucketFailed, match=message):
            client.list()
    finally:
        thread.join()
        server.server_close()
