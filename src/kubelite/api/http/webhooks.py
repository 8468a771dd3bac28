"""Calls webhooks, which users configure by URL or by Service, over TLS.

A Service is resolved to the address of a ready endpoint here, since this host may have no service proxy. Redirects are
not followed, and the connection is kept for the next call.
"""

import base64
import binascii
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.custom_conversion import ReviewFailed
from kubelite.limits import WEBHOOK_ANSWER, WEBHOOK_AUTHORITIES
from kubelite.randomness import Randomness

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
CONVERSION_SECONDS = 30
KEEP_ALIVE_SECONDS = 60.0


class Webhooks:
    """Calls webhooks; create it on the loop."""

    def __init__(self, lookup: Lookup, randomness: Randomness) -> None:
        self._lookup = lookup
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

    async def review(self, client_config: Mapping[str, Any], body: bytes) -> bytes:
        """Post a review to a conversion webhook; return its answer. Raises ReviewFailed."""
        return await self.post(client_config, body, CONVERSION_SECONDS)

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        """Post JSON to the webhook of a WebhookClientConfig; return its answer. Raises ReviewFailed."""
        service = client_config.get("service")
        if service is not None:
            shown, url, name = self._service(service)
        else:
            shown = url = str(client_config.get("url") or "")
            name = urlsplit(url).hostname or ""
        context = self._trusting(client_config.get("caBundle") or "")
        shown = f"{shown}?timeout={seconds:g}s"
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._opened().post(
                f"{url}?timeout={seconds:g}s",
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                ssl=context,
                server_hostname=name,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise ReviewFailed(
                        'an error on the server ("unknown") has prevented the request from succeeding'
                    )
                return await _read(answer)
        except TimeoutError as error:
            text = f"Post {quoted(shown)}: context deadline exceeded"
            raise ReviewFailed(text) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ReviewFailed(f"Post {quoted(shown)}: {_reason(error)}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._session

    def _trusting(self, bundle: str) -> ssl.SSLContext:
        """Return the context that trusts a bundle of authorities ("": those of the host); raises ReviewFailed."""
        known = self._contexts.get(bundle)
        if known is not None:
            return known
        try:
            pem = base64.b64decode(bundle, validate=True).decode("ascii")
            context = ssl.create_default_context(cadata=pem or None)
        except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError) as error:
            raise ReviewFailed(f"unable to load root certificates: {error}") from error
        if len(self._contexts) >= WEBHOOK_AUTHORITIES.value:
            WEBHOOK_AUTHORITIES.reached()
            self._contexts.clear()
        self._contexts[bundle] = context
        return context

    def _service(self, reference: Mapping[str, Any]) -> tuple[str, str, str]:
        """Return the URL as errors show it, the URL to call, and the name that the certificate must have."""
        name, namespace = reference.get("name") or "", reference.get("namespace") or ""
        port, path = reference.get("port") or 443, reference.get("path") or "/"
        server_name = f"{name}.{namespace}.svc"
        shown = f"https://{server_name}:{port}{path}"
        address, number = self._endpoint(name, namespace, port, shown)
        host = f"[{address}]" if ":" in address else address
        return shown, f"https://{host}:{number}{path}", server_name

    def _endpoint(self, name: str, namespace: str, port: int, shown: str) -> tuple[str, int]:
        """Return address and port of a ready endpoint of a Service; raises ReviewFailed."""
        service = self._lookup.get(Service, name, namespace)
        if service is None:
            raise ReviewFailed(f"Post {quoted(shown)}: service {quoted(name)} not found")
        wanted = next((one for one in service.spec.ports if one.port == port), None)
        if wanted is None:
            raise ReviewFailed(
                f"Post {quoted(shown)}: no service port {port} found for service {quoted(name)}"
            )
        found = [
            (endpoint.addresses[0], offered.port)
            for slice_ in self._lookup.list(EndpointSlice, namespace)
            if slice_.metadata.labels.get(SERVICE_NAME_LABEL) == name
            for offered in slice_.ports
            if offered.name == wanted.name and offered.port is not None
            for endpoint in slice_.endpoints
            if endpoint.conditions.ready is not False and endpoint.addresses
        ]
        if not found:
            raise ReviewFailed(
                f"Post {quoted(shown)}: no endpoints available for service {quoted(name)}"
            )
        return found[int(self._randomness.uniform(0, len(found)))]


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
