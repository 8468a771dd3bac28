"""Calls webhooks, which users configure by URL or by Service, over TLS.

A Service is resolved to the address of a ready endpoint here, since this host may have no service proxy. Redirects are
not followed, and the connection is kept for the next call.
"""

import asyncio
import base64
import binascii
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from kubelite.api.auth.lookup import Lookup
from kubelite.api.client.lost_connections import is_programs_fault
from kubelite.api.http.service_endpoints import NoEndpoint, ServiceEndpoints
from kubelite.api.http.tunnel_connector import TunnelConnector
from kubelite.api.http.tunnels import Tunnels
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.hooks import ReviewFailed
from kubelite.limits import WEBHOOK_ANSWER, WEBHOOK_AUTHORITIES
from kubelite.randomness import Randomness

KEEP_ALIVE_SECONDS = 60.0


class _Unreachable(Exception):
    """The configured URL cannot be called; the message says why."""


class Webhooks:
    """Calls webhooks; create it on the loop."""

    def __init__(
        self, lookup: Lookup, randomness: Randomness, tunnels: Tunnels | None = None
    ) -> None:
        """Endpoints on nodes with one of `tunnels` are called through it."""
        self._tunnels = tunnels or Tunnels()
        self._connector: TunnelConnector | None = None
        self._endpoints = ServiceEndpoints(lookup, randomness)
        self._randomness = randomness
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}  # by the authorities that they trust

    def uid(self) -> str:
        """Return a new identifier for a review."""
        return self._randomness.uid()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._connector is not None:  # which no call may have used
            await self._connector.close()
            self._connector = None

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        """Post JSON to the webhook of a WebhookClientConfig; return its answer. Raises ReviewFailed."""
        shown, name = _address_of(client_config)
        shown = f"{shown}?timeout={seconds:g}s"
        try:
            return await self._post(
                self._called(client_config, shown), name, client_config, body, seconds
            )
        except TimeoutError as error:
            text = f"Post {quoted(shown)}: context deadline exceeded"
            raise ReviewFailed(text) from error
        except (aiohttp.ClientError, OSError, ValueError, _Unreachable, NoEndpoint) as error:
            raise ReviewFailed(f"Post {quoted(shown)}: {_reason(error)}") from error
        except RuntimeError as error:
            if is_programs_fault(error):
                raise
            raise ReviewFailed(f"Post {quoted(shown)}: {error}") from error

    async def _post(
        self, url: str, name: str, client_config: Mapping[str, Any], body: bytes, seconds: float
    ) -> bytes:
        async with self._opened().post(
            url,
            data=body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            ssl=await self._trusting(client_config.get("caBundle") or ""),
            server_hostname=name,
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
        ) as answer:
            if not 200 <= answer.status < 300:
                raise ReviewFailed(_refusal(answer.status), answer.status)
            return await _read(answer)

    def _called(self, client_config: Mapping[str, Any], shown: str) -> str:
        """Return the URL to call; raises _Unreachable and NoEndpoint."""
        service = client_config.get("service")
        if service is None:
            if not shown.startswith("https://"):
                raise _Unreachable("it is no https URL")
            return shown
        endpoint = self._endpoints.resolve(
            service.get("namespace") or "", service.get("name") or "", service.get("port") or 443
        )
        self._connected_by().locate(endpoint.host, endpoint.port, endpoint.node)
        return urlsplit(shown)._replace(netloc=endpoint.authority).geturl()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connected_by(), auto_decompress=True
            )
        return self._session

    def _connected_by(self) -> TunnelConnector:
        if self._connector is None:
            # A webhook that hangs must not use up what others need; the seats of requests bound the connections.
            self._connector = TunnelConnector(self._tunnels, keepalive_timeout=KEEP_ALIVE_SECONDS)
        return self._connector

    async def _trusting(self, bundle: str) -> ssl.SSLContext:
        """Return the context that trusts a bundle of authorities ("": those of the host); raises ReviewFailed."""
        known = self._contexts.get(bundle)
        if known is not None:
            return known
        try:
            if bundle:
                pem = base64.b64decode(bundle, validate=True).decode("ascii")
                context = ssl.create_default_context(cadata=pem)
            else:  # reads all certificates of the host
                context = await asyncio.to_thread(ssl.create_default_context)
        except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError) as error:
            raise ReviewFailed(f"unable to load root certificates: {error}") from error
        if len(self._contexts) >= WEBHOOK_AUTHORITIES.value:
            WEBHOOK_AUTHORITIES.reached()
            self._contexts.clear()
        self._contexts[bundle] = context
        return context


def _address_of(client_config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the URL of a webhook as errors show it, and the name that its certificate must have."""
    service = client_config.get("service")
    if service is None:
        url = str(client_config.get("url") or "")
        return url, urlsplit(url).hostname or ""
    name = f"{service.get('name') or ''}.{service.get('namespace') or ''}.svc"
    return f"https://{name}:{service.get('port') or 443}{service.get('path') or '/'}", name


_REFUSALS = {
    401: "the server has asked for the client to provide credentials",
    403: "unknown",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def _refusal(status: int) -> str:
    """Return what clients of Kubernetes say of a status without a body that they understand."""
    if status in _REFUSALS:
        return _REFUSALS[status]
    if status >= 500:
        return 'an error on the server ("unknown") has prevented the request from succeeding'
    return (
        f"the server responded with the status code {status} but did not return more details (post)"
    )


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer; raises ReviewFailed if it is too large."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > WEBHOOK_ANSWER.value:
            WEBHOOK_ANSWER.reached()
            raise ReviewFailed(f"the answer has more than {WEBHOOK_ANSWER.value} bytes")
        parts.append(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    """Return why a call failed, worded as Go does where a user is likely to see it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: x509: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        system = error.os_error
        if isinstance(system, ConnectionRefusedError):
            return f"dial tcp {error.host}:{error.port}: connect: connection refused"
        return f"dial tcp {error.host}:{error.port}: {system.strerror or system}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error)
