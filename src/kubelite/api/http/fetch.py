"""Fetches small documents over HTTPS, such as the keys of an OpenID Connect issuer."""

import ssl

import aiohttp

SECONDS = 10
BYTES_MAX = 1024 * 1024


class HTTPSFetch:
    """Fetches a URL and returns the body; redirects and statuses other than 200 fail."""

    def __init__(self, ca_file: str = "") -> None:
        """Trust `ca_file`, or the host's authorities if "". Raises OSError if the file cannot be read."""
        self._context = ssl.create_default_context(cafile=ca_file or None)

    async def __call__(self, url: str) -> bytes:
        """Return the body. Raises OSError unless it comes over TLS, within SECONDS and BYTES_MAX."""
        if not str(url).startswith(
            "https://"
        ):  # keys fetched without TLS could be forged on the way
            raise OSError(f"cannot fetch {url}: it is no https URL")
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, ssl=self._context, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise OSError(f"cannot fetch {url}: status {answer.status}")
                body = await answer.content.read(BYTES_MAX + 1)
                while len(body) <= BYTES_MAX and (more := await answer.content.read(BYTES_MAX)):
                    body += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"cannot fetch {url}: {error}") from error
        if len(body) > BYTES_MAX:
            raise OSError(f"cannot fetch {url}: it is larger than {BYTES_MAX} bytes")
        return body
