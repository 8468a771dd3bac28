"""The ingress beside nginx, in one run on loopback: small requests that each passes on to the same backend."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.report import Figure
from bench.wrk import free_port, wrk_host
from kubelite.api.auth.self_signed import self_signed
from kubelite.ingress.front import Front, FrontSettings
from kubelite.ingress.messages import Certificate
from kubelite.ingress.routes import Backend, Route

HOST, KEY = "a.example.com", "default/web:80"
CLIENTS, SECONDS = 32, 5
AIM = "10,000 over TLS"
NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000;
  upstream web {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{backend}; location / {{ return 200 "hello world\\n"; }} }}
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; server_name {host};
    ssl_certificate {folder}/pair.pem; ssl_certificate_key {folder}/pair.pem;
    location / {{
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Measure requests per second and the 99th percentile of both; nothing where nginx is not installed."""
    if shutil.which("nginx") is None:
        return
    pem = self_signed(HOST, datetime.now(UTC))
    (folder / "pair.pem").write_bytes(pem)
    folder.chmod(0o755)
    with nginx(folder) as (backend, http, https):
        yield from loads("nginx", http, https)
        yield from asyncio.Runner(loop_factory=uvloop.new_event_loop).run(
            through_kubelite(backend, pem)
        )


def loads(name: str, http: int, https: int) -> Iterator[Figure]:
    """Load a proxy by HTTP and HTTPS."""
    for scheme, port in (("http", http), ("https", https)):
        load = wrk_host(f"{scheme}://127.0.0.1:{port}/", HOST, CLIENTS, seconds=SECONDS)
        aim = AIM if name == "kubelite" else ""
        yield Figure(f"ingress, {name}, {scheme}", load.rate, "requests/s", aim)
        yield Figure(f"ingress, {name}, {scheme}, p99", load.p99_ms, "ms")


async def through_kubelite(backend: int, pem: bytes) -> list[Figure]:
    """Return the figures of kubelite's proxy."""
    front = Front(FrontSettings(free_port(), free_port(), "127.0.0.1"))
    front.use_routes([Route(owner="default/web", host=HOST, backends=(Backend(KEY),))])
    front.use_endpoints({KEY: (f"127.0.0.1:{backend}",)})
    front.use_certificates(pem, [Certificate((HOST,), pem)])
    running = asyncio.create_task(front.run())
    try:
        async with asyncio.timeout(20):
            await front.ready.wait()
        ports = front.ports
        return await asyncio.to_thread(
            lambda: list(loads("kubelite", ports["http"], ports["https"]))
        )
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Run nginx as the backend and as a proxy; yield the ports of both: backend, HTTP, HTTPS."""
    backend, http, https = free_port(), free_port(), free_port()
    text = NGINX.format(folder=folder, backend=backend, http=http, https=https, host=HOST)
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")]) as process:
        try:
            subprocess.run(
                ["curl", "--retry", "20", "--retry-connrefused", "-so", "/dev/null",
                 f"http://127.0.0.1:{http}/"],
                check=True,
            )  # fmt: skip
            yield backend, http, https
        finally:
            process.terminate()
