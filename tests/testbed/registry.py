"""A registry as a program, with images of any size that it makes itself, and that can be held in the middle of a layer.

`registry.py PORT FOLDER NAME=MIB,MIB …` serves the image `NAME:1` of the example's files (`FOLDER/hello.tar`) and one
layer more for each size. While `FOLDER/held` is there, it sends no more than half of the layers whose number it holds.
Each begun and each whole layer is a line of its output: `begun NAME LAYER FROM` and `sent NAME LAYER BYTES`.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MIB = 1 << 20
PIECE_BYTES = 1 << 16
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data: bytes) -> str:
    """Return the name of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def ballast(name: str, number: int, size_bytes: int) -> bytes:
    """Return a layer with a file that cannot be compressed."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as layer:
        entry = tarfile.TarInfo(f"ballast-{number}")
        entry.size = size_bytes
        content = hashlib.shake_128(f"{name} {number}".encode()).digest(size_bytes)
        layer.addfile(entry, io.BytesIO(content))
    return held.getvalue()


class Images:
    """What is served: manifests by name, and blobs by digest with the image and the layer that they are of."""

    def __init__(self, hello: Path) -> None:
        with tarfile.open(hello) as archive:

            def read(name: str) -> bytes:
                found = archive.extractfile(name)
                assert found is not None, name
                return found.read()

            [listed] = json.loads(read("manifest.json"))
            self._config: dict[str, Any] = json.loads(read(listed["Config"]))
            self._layers = [read(name) for name in listed["Layers"]]
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, tuple[str, int, bytes]] = {}

    def add(self, name: str, sizes_bytes: list[int]) -> None:
        """Make an image of the example's layers and one more for each size."""
        more = [ballast(name, number, size) for number, size in enumerate(sizes_bytes, 1)]
        layers = [*self._layers, *more]
        rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
        config = json.dumps({**self._config, "rootfs": rootfs, "history": []}).encode()
        parts = [self._blob(name, -1, config, CONFIG)]
        for number, layer in enumerate(layers, 1 - len(self._layers)):
            level = 1 if number <= 0 else 0
            parts.append(self._blob(name, number, gzip.compress(layer, level, mtime=0), LAYER))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": parts[0],
            "layers": parts[1:],
        }
        self.manifests[name] = json.dumps(manifest).encode()

    def _blob(self, name: str, number: int, data: bytes, kind: str) -> dict[str, object]:
        digest = digest_of(data)
        self.blobs[digest] = (name, number, data)
        return {"mediaType": kind, "size": len(data), "digest": digest}


class Answer(BaseHTTPRequestHandler):
    """The requests of a pull."""

    protocol_version = "HTTP/1.1"
    images: Images
    held: Path

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer for a manifest or a blob."""
        where = self.path.split("?")[0].strip("/").split("/")
        if where == ["v2"]:
            self._begin(200, 0, "application/json")
        elif len(where) == 4 and where[2] == "manifests":
            named = {digest_of(text): text for text in self.images.manifests.values()}
            self._manifest(named.get(where[3]) or self.images.manifests.get(where[1]))
        elif len(where) == 4 and where[3] in self.images.blobs:
            self._blob(*self.images.blobs[where[3]], where[3])
        else:
            self._begin(404, 0, "application/json")

    def _manifest(self, text: bytes | None) -> None:
        if text is None:
            self._begin(404, 0, "application/json")
            return
        self._begin(200, len(text), MANIFEST, digest_of(text))
        if self.command == "GET":
            self.wfile.write(text)

    def _blob(self, name: str, number: int, data: bytes, digest: str) -> None:
        first = int((self.headers.get("Range") or "bytes=0-").partition("=")[2].partition("-")[0])
        self._begin(206 if first else 200, len(data) - first, LAYER, digest, first, len(data))
        if self.command != "GET":
            return
        say("begun", name, number, first)
        for place in range(first, len(data), PIECE_BYTES):
            while place >= len(data) // 2 and self._is_held(number):
                time.sleep(0.02)
            try:
                self.wfile.write(data[place : place + PIECE_BYTES])
            except OSError:  # the one who pulls has given up
                self.close_connection = True
                return
        say("sent", name, number, len(data) - first)

    def _is_held(self, number: int) -> bool:
        try:
            return str(number) in self.held.read_text().split()
        except FileNotFoundError:
            return False

    def _begin(
        self, code: int, size: int, kind: str, digest: str = "", first: int = 0, whole: int = 0
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Accept-Ranges", "bytes")
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if code == 206:
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Leave the output to what was sent."""


_saying = threading.Lock()


def say(*words: object) -> None:
    """Write a line of the output."""
    with _saying:
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()


def main(port: str, folder: str, *named: str) -> None:
    """Serve until the process is killed."""
    images = Images(Path(folder, "hello.tar"))
    for one in named:
        name, _, sizes = one.partition("=")
        images.add(name, [int(size) * MIB for size in sizes.split(",") if size])
    Answer.images, Answer.held = images, Path(folder, "held")
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Answer)
    say("serves", *named)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
