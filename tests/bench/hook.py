"""An admission webhook that allows all: `python -m bench.hook FOLDER` prints its port; `FOLDER/ca.crt` is its CA."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from aiohttp import web

from kubelite.api.auth.pki import SERVING, Pki
from kubelite.api.auth.tls import server_context
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness


class Review(msgspec.Struct):
    """What is read of a review."""

    request: dict[str, msgspec.Raw]
    api_version: str = msgspec.field(name="apiVersion")


_decode = msgspec.json.Decoder(Review).decode


async def _answer(request: web.BaseRequest) -> web.Response:
    review = _decode(await request.read())
    response = {"uid": review.request["uid"], "allowed": True}
    body = {"kind": "AdmissionReview", "apiVersion": review.api_version, "response": response}
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


async def _serve(folder: Path) -> None:
    pki = Pki.ensure(
        folder,
        clock=SetClock(datetime.now(UTC)),
        randomness=SeededRandomness(1),
        names=["localhost"],
        addresses=["127.0.0.1"],
        node_name="hook",
    )
    runner = web.ServerRunner(web.Server(_answer))
    await runner.setup()
    context = server_context(pki.path(SERVING), pki.ca_pem)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
