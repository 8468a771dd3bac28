"""A bucket that speaks Amazon's S3 API: requests signed by Signature Version 4, over urllib.

All calls block and run in a process of their own. Buckets are addressed by path, which every such server understands.
"""

import hashlib
import hmac
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from msgspec import Struct

from kubelite.backup.sealed import CHUNK_BYTES
from kubelite.clock import Clock
from kubelite.limits import BUCKET_ANSWER, BUCKET_OBJECTS, BUCKET_SECONDS, BUCKET_UPLOAD

ALGORITHM: Final = "AWS4-HMAC-SHA256"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
NAMESPACE: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"
UNRESERVED: Final = "-_.~"  # beside letters and digits; Signature Version 4


class BucketFailed(Exception):
    """The bucket cannot be reached, refuses, or answers with something else; the message says which."""


class Credentials(Struct, frozen=True):
    """Who asks, as S3 knows it."""

    access_key: str
    secret_key: str
    session_token: str = ""


class Bucket(Struct, frozen=True):
    """Where snapshots go."""

    endpoint: str  # https://s3.example.com, with a port if need be
    region: str
    name: str
    folder: str  # before each name; "" or with no slash at its ends
    credentials: Credentials
    authorities: str = ""  # a file; "" means those of the system


class Stored(Struct, frozen=True):
    """A snapshot in the bucket."""

    name: str
    size_bytes: int


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    payload_sha256: str,
    credentials: Credentials,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers of a request with its signature added. The query of `url` must be encoded already.

    Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)" of the S3 API reference.
    """
    split = urlsplit(url)
    stamp, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    complete = {**headers, "host": split.netloc}
    complete |= {"x-amz-content-sha256": payload_sha256, "x-amz-date": stamp}
    if credentials.session_token:
        complete["x-amz-security-token"] = credentials.session_token
    named = {name.lower(): " ".join(value.split()) for name, value in complete.items()}
    names = ";".join(sorted(named))
    pairs = sorted(pair.partition("=")[::2] for pair in split.query.split("&") if pair)
    canonical = "\n".join(
        (
            method,
            split.path or "/",
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{named[name]}" for name in sorted(named)),
            "",
            names,
            payload_sha256,
        )
    )
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((ALGORITHM, stamp, scope, digest))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    complete["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    return complete


class BucketClient:
    """The objects of one folder of a bucket, by name."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        """Read the authorities to trust. Raises BucketFailed."""
        self._bucket = bucket
        self._clock = clock
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if bucket.endpoint.startswith("https:"):
            try:
                trusted = ssl.create_default_context(cafile=bucket.authorities or None)
            except (OSError, ssl.SSLError) as error:
                raise BucketFailed(f"cannot use {bucket.authorities}: {error}") from error
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        self._opener = urllib.request.build_opener(*handlers)

    def put(self, source: Path, name: str) -> None:
        """Upload a file under a name; an object of that name is replaced. Raises BucketFailed, OSError."""
        size_bytes = source.stat().st_size
        if size_bytes > BUCKET_UPLOAD.value:
            BUCKET_UPLOAD.reached()
            raise BucketFailed(
                f"cannot upload {source}: it has {size_bytes} bytes, and one request takes {BUCKET_UPLOAD.value}"
            )
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            headers = {
                "content-length": str(size_bytes),
                "content-type": "application/octet-stream",
            }
            self._ask("PUT", self._url(name), headers, sha256, file).close()

    def get(self, name: str, target: Path) -> None:
        """Download an object into a new file. Raises BucketFailed, OSError."""
        with self._ask("GET", self._url(name)) as answer, target.open("xb") as file:
            target.chmod(0o600)
            left = BUCKET_UPLOAD.value
            try:
                while piece := answer.read(CHUNK_BYTES):
                    left -= len(piece)
                    if left < 0:
                        BUCKET_UPLOAD.reached()
                        raise BucketFailed(f"cannot read {name} of {self._place}: it is too large")
                    file.write(piece)
            except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
                raise BucketFailed(f"cannot read {name} of {self._place}: {error}") from error

    def list(self) -> Sequence[Stored]:
        """Return the objects of the folder, by name. Raises BucketFailed."""
        found: list[Stored] = []
        after = ""
        prefix = f"{self._bucket.folder}/" if self._bucket.folder else ""
        while True:
            query = {"list-type": "2", "prefix": prefix, "delimiter": "/"}
            if after:
                query["continuation-token"] = after
            page = self._xml(self._ask("GET", self._url("", query)))
            for item in page.iter(f"{NAMESPACE}Contents"):
                key = item.findtext(f"{NAMESPACE}Key", "")
                size_text = item.findtext(f"{NAMESPACE}Size", "0")
                if key.startswith(prefix) and key != prefix and size_text.isdecimal():
                    found.append(Stored(key.removeprefix(prefix), int(size_text)))
            after = page.findtext(f"{NAMESPACE}NextContinuationToken", "")
            if not after:
                return sorted(found, key=lambda stored: stored.name)
            if len(found) >= BUCKET_OBJECTS.value:
                BUCKET_OBJECTS.reached()
                raise BucketFailed(f"cannot list {self._place}: it has too many objects")

    def delete(self, name: str) -> None:
        """Delete an object; one that does not exist is no error. Raises BucketFailed."""
        self._ask("DELETE", self._url(name)).close()

    @property
    def _place(self) -> str:
        return "/".join(filter(None, (self._bucket.name, self._bucket.folder)))

    def _url(self, name: str, query: Mapping[str, str] | None = None) -> str:
        parts = [self._bucket.name]
        if name:
            parts += [*filter(None, self._bucket.folder.split("/")), name]
        path = "/".join(quote(part, safe=UNRESERVED) for part in parts)
        pairs = "&".join(
            f"{quote(key, safe=UNRESERVED)}={quote(value, safe=UNRESERVED)}"
            for key, value in sorted((query or {}).items())
        )
        return f"{self._bucket.endpoint.rstrip('/')}/{path}" + (f"?{pairs}" if pairs else "")

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        payload_sha256: str = EMPTY_SHA256,
        body: BinaryIO | None = None,
    ) -> http.client.HTTPResponse:
        signed = signed_headers(
            method,
            url,
            headers or {},
            payload_sha256,
            self._bucket.credentials,
            self._bucket.region,
            self._clock.now(),
        )
        request = urllib.request.Request(  # noqa: S310 - the configuration takes http and https only
            url,
            data=body,  # which is sent piece by piece
            headers=signed,
            method=method,
        )
        what = f"cannot {method} {urlsplit(url).path} at {self._bucket.endpoint}"
        try:
            answer: http.client.HTTPResponse = self._opener.open(
                request, timeout=BUCKET_SECONDS.value
            )
        except urllib.error.HTTPError as error:
            with error:
                raise BucketFailed(f"{what}: {error.code} {_reason(error)}") from error
        except urllib.error.URLError as error:
            raise BucketFailed(f"{what}: {error.reason}") from error
        except (http.client.HTTPException, OSError) as error:
            raise BucketFailed(f"{what}: {error}") from error
        return answer

    def _xml(self, answer: http.client.HTTPResponse) -> ElementTree.Element:
        with answer:
            try:
                content = answer.read(BUCKET_ANSWER.value + 1)
                if len(content) > BUCKET_ANSWER.value:
                    BUCKET_ANSWER.reached()
                    raise BucketFailed(f"cannot list {self._place}: the answer is too large")
                return _parsed(content)
            except (http.client.HTTPException, OSError, ElementTree.ParseError) as error:
                raise BucketFailed(f"cannot list {self._place}: {error}") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signature is for one host; what a redirect leads to must be configured."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _parsed(content: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in content:  # entities could grow without bound; no answer of S3 has them
        raise ElementTree.ParseError("it has a document type")
    return ElementTree.fromstring(content)  # noqa: S314 - bounded, and without entities


def _reason(error: urllib.error.HTTPError) -> str:
    """Return what the bucket says about a refusal, in one bounded line."""
    try:
        found = _parsed(error.read(BUCKET_ANSWER.value))
    except (http.client.HTTPException, OSError, ElementTree.ParseError):
        return str(error.reason)
    text = ": ".join(filter(None, (found.findtext("Code", ""), found.findtext("Message", ""))))
    return " ".join(text.split())[:300] or str(error.reason)
