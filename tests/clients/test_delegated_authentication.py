"""Callers that a front proxy names, to kubelite and to a server behind an APIService that trusts kubelite."""

import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from clients.conftest import Kubectl, ServerProcess
from clients.door import Door
from clients.extension_server import GROUP, ExtensionServer
from kubelite.api.auth.certificates import (
    Authority,
    Wanted,
    certificate_pem,
    issue,
    key_pem,
    new_authority,
    new_key,
    read_key,
)
from kubelite.randomness import SeededRandomness

pytestmark = pytest.mark.kubectl

NOW = datetime.now(UTC)
RANDOMNESS = SeededRandomness(7)
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
BODY = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
USER = "X-Remote-User: eve\r\n"


@pytest.fixture(scope="module")
def door(server: ServerProcess) -> Door:
    return Door(server.kubeconfig, server.process.pid)


@pytest.fixture(scope="module")
def proxy(server: ServerProcess) -> bytes:
    """Return key and certificate with which kubelite itself names callers."""
    return (server.folder / "data" / "pki" / "front-proxy-client.pem").read_bytes()


def pair(server: ServerProcess, signer: str, name: str) -> bytes:
    folder = server.folder / "data" / "pki"
    if signer == "foreign":
        authority = new_authority("foreign", NOW, RANDOMNESS)
    else:
        certificate = x509.load_pem_x509_certificates((folder / f"{signer}.crt").read_bytes())[0]
        authority = Authority(read_key((folder / f"{signer}.key").read_bytes()), certificate)
    key = new_key()
    made = issue(authority, key.public_key(), Wanted(name), NOW, RANDOMNESS, timedelta(days=1))
    return key_pem(key) + certificate_pem(made)


def who(door: Door, shown: bytes, headers: str) -> tuple[int, Any]:
    """Return the status of a self-review and what it says; `headers` are sent as they are."""
    request = (
        f"POST {REVIEW} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n{headers}\r\n"
    )
    received = b""
    with door.open(door.context_of(shown)) as connection:
        connection.sendall(request.encode("latin-1") + BODY)
        while part := connection.recv(65536):
            received += part
    head, _, rest = received.partition(b"\r\n\r\n")
    body = json.loads(rest)
    is_refused = body["kind"] == "Status"
    return int(head.split()[1]), body["reason"] if is_refused else body["status"]["userInfo"]


def test_the_front_proxy_names_the_caller(door: Door, proxy: bytes) -> None:
    headers = (
        "x-remote-user: anna\r\nX-Remote-Group: cooks\r\nX-Remote-Group: waiters\r\n"
        "X-Remote-Uid: 7\r\nX-Remote-Extra-Scopes: a\r\nX-Remote-Extra-scopes: b\r\n"
        "X-Remote-Extra-Example.org%2FKey: c\r\n"
    )
    assert who(door, proxy, headers) == (
        201,
        {
            "username": "anna",
            "uid": "7",
            "groups": ["cooks", "waiters", "system:authenticated"],
            "extra": {"scopes": ["a", "b"], "example.org/key": ["c"]},
        },
    )


def test_rights_are_those_of_the_caller_named(door: Door, proxy: bytes) -> None:
    context = door.context_of(proxy)
    path = "/api/v1/namespaces"
    named = {"X-Remote-User": "eve"}
    status, refusal = door.answer("GET", path, b"", named, context)
    assert (status, refusal["message"]) == (
        403,
        (
            'namespaces is forbidden: User "eve" cannot list resource "namespaces" in API group ""'
            " at the cluster scope"
        ),
    )
    master = {**named, "X-Remote-Group": "system:masters"}
    assert door.answer("GET", path, b"", master, context)[0] == 200
    # Who may impersonate is a matter of the caller's rights too.
    status, refusal = door.answer("GET", path, b"", {**named, "Impersonate-User": "a"}, context)
    assert (status, refusal["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "X-Remote-User:\r\n",
        "X_Remote_User: eve\r\nX_Remote_Group: system:masters\r\n",
        "X-Remote-Group: system:masters\r\n",
        f"{USER}{USER}",
        f"{USER}x-remote-user: anna\r\n",
        f"{USER}X-Remote-Uid: 1\r\nX-Remote-Uid: 2\r\n",
        "X-Remote-User: \xff\r\n",  # no UTF-8
    ],
)
def test_what_the_proxy_does_not_say_clearly(door: Door, proxy: bytes, headers: str) -> None:
    assert who(door, proxy, headers) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("signer", "name", "found"),
    [
        ("ca", "front-proxy-client", (201, "front-proxy-client")),
        ("ca", "dora", (201, "dora")),
        ("front-proxy-ca", "dora", (401, "Unauthorized")),
        ("foreign", "front-proxy-client", (401, "Unauthorized")),
    ],
)
def test_to_others_the_headers_mean_nothing(
    server: ServerProcess, door: Door, signer: str, name: str, found: tuple[int, str]
) -> None:
    headers = f"{USER}X-Remote-Group: system:masters\r\n"
    status, said = who(door, pair(server, signer, name), headers)
    assert (status, said["username"] if status == 201 else said) == found
    assert status != 201 or "system:masters" not in said["groups"]


def test_without_a_certificate_the_headers_mean_nothing(door: Door) -> None:
    assert who(door, b"", USER)[0] in (401, 403)


THINGS = f"/apis/{GROUP}/v1/namespaces"


@pytest.fixture
async def extension(
    door: Door, kubectl: Kubectl, tmp_path: Path
) -> AsyncIterator[tuple[ExtensionServer, str]]:
    """Return a running extension server, and its URL; its account has what the documentation says it needs."""
    account = f"{kubectl.namespace}:extension"
    kubectl.run("create", "serviceaccount", "extension")
    kubectl.run(
        *("-n", "kube-system", "create", "rolebinding", "extension"),
        *("--role=extension-apiserver-authentication-reader", f"--serviceaccount={account}"),
    )
    kubectl.run(
        *("create", "clusterrolebinding", "extension"),
        *("--clusterrole=system:auth-delegator", f"--serviceaccount={account}"),
    )
    token = kubectl.run("create", "token", "extension").strip()
    made = ExtensionServer(door.url, door.ca_pem, token)
    async with made.running(tmp_path) as url:
        yield made, url
    kubectl.run("-n", "kube-system", "delete", "rolebinding", "extension")
    kubectl.run("delete", "clusterrolebinding", "extension")


def context_of(server: ExtensionServer, shown: bytes = b"") -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=server.own_ca.decode())
    if shown:
        with tempfile.NamedTemporaryFile() as file:  # ssl reads key pairs from files only
            file.write(shown)
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def test_an_extension_server_leaves_all_to_kubelite(
    server: ServerProcess,
    proxy: bytes,
    kubectl: Kubectl,
    extension: tuple[ExtensionServer, str],
) -> None:
    made, url = extension
    role = json.dumps(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "things"},
            "rules": [{"apiGroups": [GROUP], "resources": ["things"], "verbs": ["list"]}],
        }
    )
    kubectl.run("apply", "-f", "-", text=role)
    kubectl.run("create", "rolebinding", "things", "--role=things", "--user=anna", "--group=cooks")
    path = f"{url}{THINGS}/{kubectl.namespace}/things"

    async def ask(shown: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        connector = aiohttp.TCPConnector(ssl=context_of(made, shown))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(path, headers=headers) as answer,
        ):
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None

    named = {"X-Remote-User": "anna", "X-Remote-Uid": "7", "X-Remote-Extra-scopes": "a"}
    assert await ask(proxy, named) == (
        200,
        {"user": "anna", "groups": [], "uid": "7", "extra": {"scopes": ["a"]}},
    )
    cook = {"X-Remote-User": "eve", "X-Remote-Group": "cooks"}
    assert (await ask(proxy, cook))[0] == 200
    assert (await ask(proxy, {"X-Remote-User": "eve"}))[0] == 403
    assert (await ask(proxy, {}))[0] == 401
    assert (await ask(pair(server, "front-proxy-ca", "dora"), named))[0] == 401
    # A client with a certificate of the cluster is known here as well, whatever it says of others.
    assert await ask(pair(server, "ca", "dora"), named) == (403, {"user": "dora", "groups": []})
    assert (await ask(b"", named))[0] == 401
    kubectl.run("create", "serviceaccount", "robot")
    token = kubectl.run("create", "token", "robot").strip()
    status, caller = await ask(b"", {"Authorization": f"Bearer {token}"})
    assert (status, caller["user"]) == (403, f"system:serviceaccount:{kubectl.namespace}:robot")
    assert (await ask(b"", {"Authorization": "Bearer nonsense"}))[0] == 401


def test_what_extension_servers_trust_comes_back(kubectl: Kubectl) -> None:
    place = ("-n", "kube-system")
    name = "configmap/extension-apiserver-authentication"
    before = json.loads(kubectl.run(*place, "get", name, "-o", "json"))["data"]
    kubectl.run(*place, "delete", name)
    kubectl.run(*place, "wait", "--for=create", name, "--timeout=10s")
    assert json.loads(kubectl.run(*place, "get", name, "-o", "json"))["data"] == before
    kubectl.run(
        *place,
        "patch",
        name,
        "-p",
        '{"data":{"client-ca-file":null,"requestheader-allowed-names":"[]"}}',
    )
    key = "jsonpath={.data.requestheader-allowed-names}"
    kubectl.run(*place, "wait", f'--for={key}=["front-proxy-client"]', name, "--timeout=10s")
    assert json.loads(kubectl.run(*place, "get", name, "-o", "json"))["data"] == before
