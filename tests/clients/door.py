"""A server's door, knocked at with bytes: for what no well-behaved client sends, and for other people's proofs."""

import base64
import json
import socket
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml


class Door:
    """Where a server is, and how the administrator gets in."""

    def __init__(self, kubeconfig: Path, pid: int) -> None:
        config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = cluster["server"]
        host, _, port = self.url.rpartition("/")[2].partition(":")
        self.address = (host, int(port))
        self.pid = pid
        self.ca_pem = base64.b64decode(cluster["certificate-authority-data"])
        self.context = self.context_of(
            base64.b64decode(user["client-key-data"])
            + base64.b64decode(user["client-certificate-data"])
        )

    def context_of(self, pair_pem: bytes = b"") -> ssl.SSLContext:
        """Return a context that trusts the server and shows a certificate, if one is given."""
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        if pair_pem:
            with tempfile.NamedTemporaryFile() as pair:  # ssl reads key pairs from files only
                pair.write(pair_pem)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context

    def open(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Connect, as the administrator unless told otherwise."""
        plain = socket.create_connection(self.address, timeout=20)
        return (context or self.context).wrap_socket(plain, server_hostname=self.address[0])

    def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> int:
        """Return the status of the answer to one request of the administrator."""
        return self.answer(method, path, body, {"Content-Type": content_type})[0]

    def answer(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> tuple[int, Any]:
        """Return status and body (decoded, if it is JSON) of the answer to one request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        received = b""
        with self.open(context) as connection, suppress(OSError):
            # It may answer and close before it has read all.
            with suppress(OSError):
                connection.sendall("\r\n".join(lines).encode() + body)
            while part := connection.recv(65536):
                received += part
        head, _, rest = received.partition(b"\r\n\r\n")
        with suppress(ValueError):
            return int(head.split()[1]), json.loads(rest)
        return int(head.split()[1]) if head else 0, rest

    def memory_mb(self) -> float:
        """Return the resident memory of the server."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4096 / 1e6


def status(connection: socket.socket) -> int:
    """Return the status of the next answer."""
    received = b""
    while b"\r\n" not in received:
        part = connection.recv(4096)
        if not part:
            return 0
        received += part
    return int(received.split()[1])
