"""Certificates are renewed while their contexts are in use."""

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509
from fakes.fake_client import FakeClient
from fakes.join_server import authority, pem_of
from fakes.keys import InProcess
from msgspec.structs import replace

from kubelite.api.auth.certificates import Authority, alternative_names
from kubelite.api.auth.pki import Pki
from kubelite.api.auth.signing import CertificateSigner
from kubelite.api.client.remote import RemoteClient
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestStatus,
)
from kubelite.api.kinds.core.nodes import Node, NodeAddress, NodeStatus
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SetClock
from kubelite.joining import requests, verify
from kubelite.joining.credentials import Credentials
from kubelite.joining.files import CLIENT, LEAVES, NETWORK, SERVING, AgentFiles
from kubelite.joining.refusal import JoinFailed
from kubelite.joining.renewal import Renewal
from kubelite.randomness import SeededRandomness

SECONDS = 600  # the shortest lifetime that the API gives
START = datetime(2026, 11, 1, tzinfo=UTC)


class Cluster(FakeClient):
    """Signs every request at once, but for addresses that it denies."""

    def __init__(self, clock: SetClock, ca: Authority) -> None:
        super().__init__()
        pki = cast(Pki, SimpleNamespace(authority=ca))
        self.signer = CertificateSigner(pki, clock, SeededRandomness(5))
        self.denied: set[str] = set()
        self.asked: list[str] = []

    async def create(self, item: Any) -> Any:
        created = await super().create(item)
        if not isinstance(created, CertificateSigningRequest):
            return created
        self.asked.append(created.spec.signerName.rpartition("/")[2])
        pem = base64.b64decode(created.spec.request)
        if self.denied & set(alternative_names(x509.load_pem_x509_csr(pem))[1]):
            no = CertificateSigningRequestCondition(
                type="Denied", status="True", message="not yours"
            )
            status = CertificateSigningRequestStatus(conditions=[no])
        else:
            signed = self.signer.sign(
                pem, usages=tuple(created.spec.usages), expiration_seconds=SECONDS
            )
            status = CertificateSigningRequestStatus(certificate=base64.b64encode(signed).decode())
        await self.update(replace(created, status=status), "status")
        return created


class Scene:
    """A machine that has just joined."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock(START)
        self.ca = authority(now=START)
        self.client = Cluster(self.clock, self.ca)
        self.files = AgentFiles(folder / "agent", InProcess())
        self.by_token: list[str] = []
        self.token: Callable[[], Awaitable[None]] | None = None

    async def joined(self) -> "Scene":
        self.files.prepare()
        self.files.write_ca(pem_of(self.ca))
        orders = {
            CLIENT: requests.node_client("n"),
            SERVING: requests.node_serving("n", ()),
            NETWORK: requests.network_client(),
        }
        for leaf, order in orders.items():
            pem = await requests.obtain(self.client, order, self.files, leaf)
            self.files.write_certificate(leaf, pem)
        self.client.asked.clear()
        self.credentials = Credentials(self.files)
        self.renewal = Renewal(
            self.credentials,
            self.files,
            self.client,
            node_name="n",
            server="https://s:6443",
            clock=self.clock,
            randomness=SeededRandomness(3),
            by_token=self._by_token,
        )
        return self

    async def _by_token(self, server: str) -> None:
        self.by_token.append(server)
        if self.token is None:
            raise JoinFailed("no token")
        await self.token()

    def serials(self) -> list[str]:
        found = [self.files.certificate(leaf) for leaf in LEAVES]
        return [one.serial_number for one in found if one is not None]


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    async def same(_: str, __: datetime, known: bytes) -> bytes:
        return known

    monkeypatch.setattr(verify, "known_bundle", same)
    return await Scene(tmp_path).joined()


async def test_each_certificate_is_renewed_at_70_to_90_percent_of_its_lifetime(
    scene: Scene,
) -> None:
    lifetime = timedelta(seconds=SECONDS) + timedelta(minutes=5)  # backdated
    begin = START - timedelta(minutes=5)
    before, renewed = scene.serials(), dict[str, float]()
    while len(renewed) < len(LEAVES):
        seconds = await scene.renewal.round()
        for leaf, old, new in zip(LEAVES, before, scene.serials(), strict=True):
            if old != new:
                renewed.setdefault(leaf.name, (scene.clock.date - begin) / lifetime)
        scene.clock.date += timedelta(seconds=seconds)
    assert len(set(renewed.values())) == len(LEAVES)  # each at a moment of its own
    assert all(0.69 < part < 0.92 for part in renewed.values()), renewed
    assert scene.by_token == []


async def test_nothing_is_asked_while_nothing_is_due(scene: Scene) -> None:
    for _ in range(3):
        assert 200 < await scene.renewal.round() < SECONDS
    assert scene.client.asked == []


async def test_contexts_are_replaced_while_connections_stay_open(scene: Scene) -> None:
    kept = RemoteClient("https://s:6443", ssl_context=None, randomness=SeededRandomness(1))
    scene.credentials.keep(kept, NETWORK)
    serving, node = scene.credentials.serving, scene.credentials.node

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)

    listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=serving)
    port = listener.sockets[0].getsockname()[1]
    first = await _connect(port)
    before = scene.serials()
    scene.clock.date += timedelta(seconds=SECONDS - 60)
    await scene.renewal.round()
    second = await _connect(port)
    assert len(set(before) & set(scene.serials())) == 0
    assert [_serial(first), _serial(second)] == [before[1], scene.serials()[1]]
    for reader, writer in (first, second):
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.transport.abort()
    assert (scene.credentials.serving, scene.credentials.node) == (serving, node)
    # A new context makes a client open new connections: the old ones showed a certificate that expires.
    assert kept.transport.ssl_context is not None
    listener.close()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


def _serial(connected: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> str:
    der = connected[1].get_extra_info("ssl_object").getpeercert(binary_form=True)
    return f"{x509.load_der_x509_certificate(der).serial_number:x}"


async def test_a_server_that_is_away_is_asked_again_with_back_off_until_it_is_back(
    scene: Scene,
) -> None:
    scene.clock.date += timedelta(seconds=SECONDS - 60)
    scene.client.refuse = lambda verb, _: ServiceUnavailable("away") if verb == "create" else None
    pauses = [await scene.renewal.round() for _ in range(12)]
    assert all(1 <= pause <= 450 for pause in pauses)
    assert max(pauses) > 100
    before = scene.serials()
    scene.client.refuse = lambda *_: None
    assert await scene.renewal.round() > 200
    assert not set(before) & set(scene.serials())


async def test_an_expired_certificate_is_replaced_by_a_token_or_reported(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.clock.date += timedelta(seconds=SECONDS + 1)
    await scene.renewal.round()
    assert "cannot renew a certificate" in caplog.text
    assert scene.by_token == ["https://s:6443"]
    assert scene.client.asked == []

    async def token() -> None:
        order = requests.node_client("n")
        pem = await requests.obtain(scene.client, order, scene.files, CLIENT)
        scene.files.write_certificate(CLIENT, pem)

    scene.token = token
    assert await scene.renewal.round() > 200
    assert sorted(scene.client.asked) == [
        "kube-apiserver-client",
        "kube-apiserver-client-kubelet",
        "kubelet-serving",
    ]


async def _report(scene: Scene, *addresses: str) -> None:
    listed = [NodeAddress(type="InternalIP", address=address) for address in addresses]
    node = Node(
        metadata=ObjectMeta(name="n"),
        status=NodeStatus(addresses=[*listed, NodeAddress(type="Hostname", address="n")]),
    )
    scene.renewal._node_changed(None, node)


def _addresses(scene: Scene) -> list[str]:
    certificate = scene.files.certificate(SERVING)
    assert certificate is not None
    assert certificate.dns_names == ("n",)
    return list(certificate.addresses)


async def test_the_serving_certificate_follows_the_addresses_of_the_node(scene: Scene) -> None:
    for addresses in (("192.0.2.1",), ("192.0.2.1", "198.51.100.1"), ("192.0.2.2",)):
        await _report(scene, *addresses)
        await scene.renewal.round()
        assert _addresses(scene) == list(addresses)
    await _report(scene)  # a status without addresses is one that is not written yet
    await scene.renewal.round()
    assert _addresses(scene) == ["192.0.2.2"]
    assert scene.client.asked == ["kubelet-serving"] * 3


async def test_addresses_that_the_cluster_denies_are_not_asked_for_again(scene: Scene) -> None:
    scene.client.denied = {"192.0.2.1"}
    await _report(scene, "192.0.2.1")
    for _ in range(4):
        await scene.renewal.round()
    assert _addresses(scene) == []
    assert scene.client.asked == ["kubelet-serving"]
    await _report(scene, "192.0.2.2")
    await scene.renewal.round()
    assert _addresses(scene) == ["192.0.2.2"]


async def test_authorities_that_were_replaced_are_taken_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = pem_of(scene.ca, authority("new", now=START))

    async def replaced(_: str, __: datetime, known: bytes) -> bytes:
        assert known in (pem_of(scene.ca), new)
        return new

    monkeypatch.setattr(verify, "known_bundle", replaced)
    scene.clock.date += timedelta(seconds=SECONDS - 60)
    await scene.renewal.round()
    assert scene.files.read_ca() == new
    assert len(scene.credentials.node.get_ca_certs()) == 2
