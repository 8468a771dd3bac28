"""The node's plain health endpoint: one page, and a port that is taken is waited for."""

import asyncio
import logging
import socket

import aiohttp
import pytest

from kubelite.node import healthz
from kubelite.node.healthz import Healthz
from kubelite.tasks import TaskSet


async def _answer(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


async def _until_bound(made: Healthz) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await _answer(made.port, "/healthz")
            except (aiohttp.ClientError, ValueError):
                await asyncio.sleep(0.01)
            else:
                return


async def test_it_answers_one_page_and_no_more() -> None:
    tasks, made = TaskSet(), Healthz("127.0.0.1", 0)
    tasks.supervise(made.run, name="healthz")
    try:
        await _until_bound(made)
        assert await _answer(made.port, "/healthz") == (200, "ok")
        assert (await _answer(made.port, "/healthz", "POST"))[0] == 405
        for path in ("/", "/metrics", "/pods", "/configz", "/healthz/syncloop"):
            assert await _answer(made.port, path) == (404, "404 page not found\n")
    finally:
        await tasks.stop()
    with pytest.raises(aiohttp.ClientError):
        await _answer(made.port, "/healthz")


async def test_a_taken_port_is_told_once_and_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthz, "RETRY_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(healthz, "RETRY_MAX_SECONDS", 0.01)
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = Healthz("127.0.0.1", taken.getsockname()[1])
        tasks = TaskSet()
        tasks.supervise(made.run, name="healthz")
        await asyncio.sleep(0.1)
    try:
        await _until_bound(made)
        assert [record.getMessage() for record in caplog.records] == [
            "cannot listen for /healthz; see --healthz-port"
        ]
    finally:
        await tasks.stop()
