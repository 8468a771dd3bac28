import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from kubelite.api.auth.pki import SERVING, Pki
from kubelite.api.auth.tls import server_context
from kubelite.api.http import fetch as module
from kubelite.api.http.fetch import HTTPSFetch
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness


async def answer(request: web.BaseRequest) -> web.Response:
    match request.path:
        case "/keys":
            return web.Response(text="{}")
        case "/large":
            return web.Response(body=b"x" * 101)
        case _:
            return web.Response(status=302, headers={"Location": "/keys"})


async def test_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES_MAX", 100)
    pki = Pki.ensure(
        tmp_path,
        clock=SetClock(datetime.now(UTC)),
        randomness=SeededRandomness(1),
        names=["localhost"],
        addresses=["127.0.0.1"],
        node_name="one",
    )
    context: ssl.SSLContext = server_context(pki.path(SERVING), pki.ca_pem)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    base = f"https://127.0.0.1:{runner.addresses[0][1]}"
    fetch = HTTPSFetch(str(tmp_path / "ca.crt"))
    assert await fetch(f"{base}/keys") == b"{}"
    for path, reason in (("/large", "larger than 100 bytes"), ("/elsewhere", "status 302")):
        with pytest.raises(OSError, match=reason):
            await fetch(base + path)
    with pytest.raises(OSError, match="cannot fetch"):
        await HTTPSFetch()(f"{base}/keys")
    await runner.cleanup()


async def test_nothing_is_fetched_in_the_clear() -> None:
    with pytest.raises(OSError, match="no https URL"):
        await HTTPSFetch()("http://127.0.0.1:1/keys")
