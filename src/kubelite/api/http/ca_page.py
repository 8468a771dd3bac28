"""``/cacerts``: the cluster's CA certificates, by which a machine that joins compares the server with its token."""

from collections.abc import Callable, Mapping

from kubelite.api.http.discovery import etag_of
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.pages import READING_METHODS, ServePage
from kubelite.api.http.respond import Reply
from kubelite.api.registry.routes import not_allowed

PATH = "/cacerts"
CONTENT_TYPE = "application/x-pem-file"
CACHE_CONTROL = "public, max-age=300"


def ca_pages(bundle: Callable[[], bytes]) -> Mapping[str, ServePage]:
    """Return the handler of the page; `bundle()` is the PEM of the certificates, the current one first.

    The certificates are public and prove nothing by themselves, so the page needs no authentication.
    """

    async def certificates(asked: Asked) -> Reply:
        if asked.request.method not in READING_METHODS:
            raise not_allowed()
        body = bundle()
        headers = {"ETag": etag_of(body)}
        if asked.request.headers.get("If-None-Match", "") == headers["ETag"]:
            return Reply(
                b"",
                status=304,
                content_type=CONTENT_TYPE,
                headers=headers,
                cache_control=CACHE_CONTROL,
            )
        return Reply(body, content_type=CONTENT_TYPE, headers=headers, cache_control=CACHE_CONTROL)

    return {PATH: certificates}
