"""Tokens of an OpenID Connect issuer on loopback, against a real server process."""

import asyncio
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from aiohttp import web

from clients.conftest import ServerProcess
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.pki import SERVING, Pki
from kubelite.api.auth.tls import server_context
from kubelite.clock import SetClock
from kubelite.randomness import SystemRandomness

REFETCH_SECONDS = 10  # the server asks the issuer for new keys no more often


class Issuer:
    """Publishes its keys over HTTPS with a certificate of its own CA, in a thread."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "ca.crt"
        pki = Pki.ensure(
            folder,
            clock=SetClock(datetime.now(UTC)),
            randomness=SystemRandomness(),
            names=["localhost"],
            addresses=["127.0.0.1"],
            node_name="issuer",
        )
        self._context = server_context(pki.path(SERVING), pki.ca_pem)
        self.keys: dict[str, Any] = {"one": new_key()}
        self.asked = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._begun.wait(10)

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._context).start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        self._begun.set()
        await self._ending.wait()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.asked += 1
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        keys = [
            json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
            | {"kid": name, "alg": "ES256", "use": "sig"}
            for name, key in self.keys.items()
        ]
        return web.json_response({"keys": keys})

    def token(self, kid: str = "one", key: Any = None, alg: str = "ES256", **claims: Any) -> str:
        """Sign a token that is good but for what is given."""
        given = {
            "iss": self.url,
            "aud": "kubelite",
            "sub": "7",
            "email": "anna@example.org",
            "teams": ["shop"],
            "hd": "example.org",
            "exp": time.time() + 300,
        }
        signed = self.keys[kid] if key is None else key
        return jwt.encode(given | claims, signed, algorithm=alg, headers={"kid": kid})

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    yield issuer
    issuer.stop()


class Login:
    """A client that has nothing but a token."""

    def __init__(self, server: ServerProcess) -> None:
        cluster = yaml.safe_load(server.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._address = cluster["server"].removeprefix("https://")
        self._context = ssl.create_default_context()
        self._context.check_hostname = False  # who the server is, is not the question here
        self._context.verify_mode = ssl.CERT_NONE

    def who(self, token: str) -> tuple[int, dict[str, Any]]:
        """Ask the server who the caller is; return status and identity."""
        connection = http.client.HTTPSConnection(self._address, context=self._context, timeout=20)
        try:
            connection.request(
                "POST",
                "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                "{}",
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        return answer.status, found.get("status", {}).get(
            "userInfo", {}
        ) if answer.status == 201 else {}


@contextmanager
def running(folder: Path, *flags: str) -> Iterator[ServerProcess]:
    process = ServerProcess(folder, *flags)
    process.wait_until_ready()
    try:
        yield process
    finally:
        code = process.stop()
    assert code == 0


@pytest.fixture(scope="module")
def login(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    flags = {
        "issuer-url": issuer.url,
        "client-id": "kubelite",
        "username-claim": "email",
        "username-prefix": "oidc:",
        "groups-claim": "teams",
        "groups-prefix": "team:",
        "ca-file": str(issuer.ca_file),
        "signing-algs": "ES256,RS256",
        "required-claim": "hd=example.org",
    }
    given = [f"--oidc-{name}={value}" for name, value in flags.items()]
    with running(tmp_path_factory.mktemp("server"), *given) as process:
        yield Login(process)


def test_claims_make_an_identity(issuer: Issuer, login: Login) -> None:
    status, user = login.who(issuer.token())
    assert status == 201
    assert user["username"] == "oidc:anna@example.org"
    assert user["groups"] == ["team:shop", "system:authenticated"]


def test_masters_are_not_made_outside(issuer: Issuer, login: Login) -> None:
    _, user = login.who(issuer.token(teams=["system:masters"]))
    assert "system:masters" not in user["groups"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"iss": "https://127.0.0.1:1"},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"hd": "example.com"},
        {"email": ""},
        {"email_verified": False},
        {"teams": {"a": 1}},
    ],
)
def test_claims_that_do_not_count(issuer: Issuer, login: Login, claims: dict[str, Any]) -> None:
    assert login.who(issuer.token(**claims))[0] == 401


def test_signatures_that_do_not_count(issuer: Issuer, login: Login) -> None:
    good = issuer.token()
    head, body, signature = good.split(".")
    assert login.who(issuer.token(key=new_key()))[0] == 401
    assert login.who(issuer.token(key="x" * 32, alg="HS256"))[0] == 401
    assert login.who(issuer.token(key="", alg="none"))[0] == 401
    assert login.who(f"{head}.{body}.")[0] == 401
    assert login.who(f"{head}.{body}.{signature[::-1]}")[0] == 401
    assert login.who(good)[0] == 201


def test_keys_are_rotated(issuer: Issuer, login: Login) -> None:
    old = issuer.token()
    assert login.who(old)[0] == 201
    issuer.keys = {"two": new_key()}
    asked = issuer.asked
    deadline = time.monotonic() + REFETCH_SECONDS + 5
    while login.who(issuer.token("two"))[0] != 201:
        assert time.monotonic() < deadline, "the new key was not fetched"
        time.sleep(0.2)
    assert issuer.asked == asked + 2  # the document and the keys, once, however many tokens came
    assert login.who(old)[0] == 401  # good once, but the issuer no longer vouches for its key
