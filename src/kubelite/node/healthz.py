"""The node's plain health endpoint, for monitors on the same host: `/healthz` and nothing else, as the kubelet's.

A port that is taken keeps no node from running: it is logged once, and tried again.
"""

import asyncio
import logging
import os

from aiohttp import web

from kubelite.backoff import backoff_seconds
from kubelite.limits import NODE_CONNECTIONS
from kubelite.serving.connection import ConnectionServer
from kubelite.serving.listener import Listener
from kubelite.serving.table import ConnectionTable

log = logging.getLogger(__name__)

CONNECTIONS = 16
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 1.0, 60.0
SHUTDOWN_SECONDS = 0.5


class Healthz:
    """Answers on a port without TLS while `run` works."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def run(self) -> None:
        """Listen until cancelled."""
        table = ConnectionTable(NODE_CONNECTIONS, CONNECTIONS, per_address=CONNECTIONS)
        listener = Listener(ConnectionServer(_answer, table), lambda: None)
        failures = 0
        while True:
            try:
                self.port = listener.open(self.host, self.port, "healthz")
                break
            except OSError as error:
                if not failures:
                    reason = os.strerror(error.errno or 0)
                    where = {"address": self.host, "port": self.port, "reason": reason}
                    log.warning("cannot listen for /healthz; see --healthz-port", extra=where)
            await asyncio.sleep(backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS))
            failures += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await listener.stop(SHUTDOWN_SECONDS)


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    if request.rel_url.raw_path != "/healthz":
        return web.Response(status=404, text="404 page not found\n")
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405, headers={"Allow": "GET,HEAD"})
    return web.Response(text="ok")
