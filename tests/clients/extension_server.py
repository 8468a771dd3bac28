"""A server behind an APIService: it starts as those made with k8s.io/apiserver do and leaves decisions to kubelite.

It reads the ConfigMap extension-apiserver-authentication with its service account, lets only the front proxy name
callers, has tokens reviewed, and asks for each request whether its caller may send it.
"""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509

from kubelite.api.auth.certificates import (
    SERVER_AUTH,
    Wanted,
    certificate_pem,
    common_name,
    issue,
    key_pem,
    new_authority,
    new_key,
    organizations,
)
from kubelite.randomness import SeededRandomness

CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"
NAME = "extension-apiserver-authentication"
GROUP = "apps.example.com"
JSON = dict[str, Any]


class ExtensionServer:
    """Answers GET /apis/apps.example.com/v1/namespaces/NAMESPACE/things with who called."""

    def __init__(self, url: str, ca_pem: bytes, token: str) -> None:
        """`url` and `ca_pem` are kubelite's, `token` that of the server's service account."""
        self._url = url
        self._context = ssl.create_default_context(cadata=ca_pem.decode())
        self._token = token
        self._trust: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self.own_ca = b""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[str]:
        """Start, and yield the URL."""
        headers = {"Authorization": f"Bearer {self._token}"}
        connector = aiohttp.TCPConnector(ssl=self._context)
        async with aiohttp.ClientSession(self._url, connector=connector, headers=headers) as made:
            self._session = made
            await self._learn()
            runner = web.ServerRunner(web.Server(self._answer))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._serving(folder))
            await site.start()
            host, port = runner.addresses[0][:2]
            try:
                yield f"https://{host}:{port}"
            finally:
                await runner.cleanup()

    async def _learn(self) -> None:
        """Read the ConfigMap as an informer for one name does: list, then watch from there."""
        selector = {"fieldSelector": f"metadata.name={NAME}"}
        listed = await self.call("GET", CONFIG_MAPS, params=selector)
        (found,) = listed["items"]
        self._trust = found["data"]
        version = listed["metadata"]["resourceVersion"]
        params = {**selector, "watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
        assert self._session is not None
        async with self._session.get(CONFIG_MAPS, params=params) as answer:
            assert answer.status == 200
            assert await answer.read() == b""

    def _serving(self, folder: Path) -> ssl.SSLContext:
        now, random = datetime.now(UTC), SeededRandomness(11)
        authority, key = new_authority("extension", now, random), new_key()
        wanted = Wanted("server", addresses=("127.0.0.1",), usages=(SERVER_AUTH,))
        made = issue(authority, key.public_key(), wanted, now, random)
        pair = folder / "extension.pem"
        pair.write_bytes(key_pem(key) + certificate_pem(made))
        self.own_ca = certificate_pem(authority.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        for bundle in ("client-ca-file", "requestheader-client-ca-file"):
            context.load_verify_locations(cadata=self._trust[bundle])
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        caller = await self._caller(request)
        if caller is None:
            return web.Response(status=401)
        _, _, _, _, _, namespace, resource = request.path.split("/")
        spec = {
            **caller,
            "resourceAttributes": {
                "verb": "list",
                "group": GROUP,
                "version": "v1",
                "resource": resource,
                "namespace": namespace,
            },
        }
        review = await self.review("authorization.k8s.io", "SubjectAccessReview", spec)
        if not review["status"]["allowed"]:
            return web.json_response(caller, status=403)
        return web.json_response(caller)

    async def _caller(self, request: web.BaseRequest) -> JSON | None:
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        der = tls.getpeercert(True) if tls is not None else None
        if der is not None:
            return self._certified(x509.load_der_x509_certificate(der), request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        review = await self.review("authentication.k8s.io", "TokenReview", {"token": token})
        if not review["status"].get("authenticated"):
            return None
        user = review["status"]["user"]
        return {"user": user["username"], "groups": user["groups"], "uid": user.get("uid", "")}

    def _certified(self, certificate: x509.Certificate, request: web.BaseRequest) -> JSON | None:
        name = common_name(certificate.subject)
        if not self._is_issued(certificate, "requestheader-client-ca-file"):
            return {"user": name, "groups": list(organizations(certificate.subject))}
        if name not in json.loads(self._trust["requestheader-allowed-names"]):
            return None
        (user,), (group,), (uid,), (prefix,) = (
            json.loads(self._trust[f"requestheader-{what}"])
            for what in (
                "username-headers",
                "group-headers",
                "uid-headers",
                "extra-headers-prefix",
            )
        )
        if not request.headers.get(user):
            return None
        extra: dict[str, list[str]] = {}
        for key, value in request.headers.items():
            if key.lower().startswith(prefix.lower()):
                extra.setdefault(key.lower().removeprefix(prefix.lower()), []).append(value)
        return {
            "user": request.headers[user],
            "groups": request.headers.getall(group, []),
            "uid": request.headers.get(uid, ""),
            "extra": extra,
        }

    def _is_issued(self, certificate: x509.Certificate, bundle: str) -> bool:
        for one in x509.load_pem_x509_certificates(self._trust[bundle].encode()):
            try:
                certificate.verify_directly_issued_by(one)
            except ValueError:
                continue
            return True
        return False

    async def review(self, group: str, kind: str, spec: JSON) -> JSON:
        """Have a caller or a request judged."""
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        return await self.call("POST", f"/apis/{group}/v1/{kind.lower()}s", json=body)

    async def call(self, method: str, path: str, **options: Any) -> JSON:
        """Send a request to kubelite, which must not refuse it."""
        assert self._session is not None
        async with self._session.request(method, path, **options) as answer:
            made: JSON = await answer.json()
            assert answer.status in (200, 201), made
            return made
