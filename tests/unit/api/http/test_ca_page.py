from aiohttp import ClientSession
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.http.ca_page import PATH, ca_pages


async def test_the_bundle_is_served_and_cacheable() -> None:
    bundle = b"current\nretired\n"
    parts = parts_of(Server().verbs, more_pages=ca_pages(lambda: bundle))
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get(PATH) as reply:
            assert await reply.read() == bundle
            assert reply.content_type == "application/x-pem-file"
            assert "max-age" in reply.headers["Cache-Control"]
            etag = reply.headers["ETag"]
        async with session.get(PATH, headers={"If-None-Match": etag}) as reply:
            assert reply.status == 304
            assert await reply.read() == b""
        bundle = b"newer\n"
        async with session.get(PATH, headers={"If-None-Match": etag}) as reply:
            assert reply.status == 200
            assert await reply.read() == bundle
            assert reply.headers["ETag"] != etag
        async with session.post(PATH) as reply:
            assert reply.status == 405
