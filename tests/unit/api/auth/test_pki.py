import asyncio
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kubelite.api.auth import pki as module
from kubelite.api.auth.certificates import (
    Wanted,
    authority_hash,
    certificate_pem,
    described,
    issue,
    key_pem,
    new_key,
)
from kubelite.api.auth.pki import (
    ADMIN,
    CA,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    SERVING,
    ClockNotSet,
    KeysDamaged,
    Pki,
    serving_addresses,
    serving_names,
    wait_for_clock,
)
from kubelite.api.auth.tls import client_context
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.net.host_addresses import HostView
from kubelite.preparation import pki_arguments
from kubelite.randomness import SeededRandomness

NAMES = serving_names("cluster.local", "one", ["api.example"])
ADDRESSES = serving_addresses("10.43.0.1", ["192.0.2.7"])


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime.now(UTC).replace(microsecond=0))  # OpenSSL asks the machine's clock


def ensure(
    folder: Path, clock: SetClock, addresses: tuple[str, ...] = ADDRESSES, node_name: str = "one"
) -> Pki:
    return Pki.ensure(
        folder / "pki",
        clock=clock,
        randomness=SeededRandomness(1),
        names=NAMES,
        addresses=addresses,
        node_name=node_name,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "pki").iterdir()}


def test_identities(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    admin, node = described(pki.leaf(ADMIN)), described(pki.leaf(KUBELET_SERVING))
    assert (admin.common_name, admin.organizations) == ("kubernetes-admin", ("system:masters",))
    assert (node.common_name, node.organizations) == ("system:node:one", ("system:nodes",))
    serving = described(pki.leaf(SERVING))
    assert {
        "kubernetes",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "api.example",
    } <= set(serving.dns_names)
    assert serving.addresses == ("10.43.0.1", "127.0.0.1", "192.0.2.7", "::1")


def test_what_the_api_server_shows_nodes_is_no_administrators(
    tmp_path: Path, clock: SetClock
) -> None:
    shown = described(ensure(tmp_path, clock).leaf(KUBELET_CLIENT))
    assert (shown.common_name, shown.organizations) == ("kube-apiserver-kubelet-client", ())


def test_only_the_administrators_certificate_is_in_masters(tmp_path: Path, clock: SetClock) -> None:
    leaves = [leaf for leaf in ensure(tmp_path, clock).list_certificates() if not leaf.is_authority]
    assert {leaf.name: leaf.groups for leaf in leaves if leaf.groups} == {
        ADMIN: ("system:masters",),
        KUBELET_SERVING: ("system:nodes",),
    }


def test_a_certificate_with_more_rights_than_now_is_made_anew(
    tmp_path: Path, clock: SetClock
) -> None:
    pki = ensure(tmp_path, clock)
    key = new_key()
    wanted = Wanted("kube-apiserver-kubelet-client", ("system:masters",))
    old = issue(pki.authority, key.public_key(), wanted, clock.now(), SeededRandomness(2))
    pki.path(KUBELET_CLIENT).write_bytes(key_pem(key) + certificate_pem(old))
    again = ensure(tmp_path, clock)
    assert described(again.leaf(KUBELET_CLIENT)).organizations == ()
    assert key_pem(key) not in pki.path(KUBELET_CLIENT).read_bytes()


def test_a_nodes_certificate_is_not_good_for_the_api(tmp_path: Path, clock: SetClock) -> None:
    arguments = pki_arguments(
        Config(node_name="one", tls_san=("api.example",)),
        HostView(("192.0.2.7",), "192.0.2.7"),
        ("10.43.0.1", "10.50.0.1"),  # the Service still has the address of an older range
    )
    pki = Pki.ensure(tmp_path, clock=clock, randomness=SeededRandomness(1), **arguments)
    node = described(pki.leaf(KUBELET_SERVING))
    assert node.dns_names == ("localhost", "one")
    assert node.addresses == ("127.0.0.1", "192.0.2.7", "::1")
    assert {"10.43.0.1", "10.50.0.1"} <= set(described(pki.leaf(SERVING)).addresses)


@pytest.mark.parametrize(
    ("bind", "named"), [("127.0.0.7", {"127.0.0.7"}), ("0.0.0.0", set()), ("::", set())]
)
def test_the_address_that_the_server_listens_on_is_in_its_certificate(
    tmp_path: Path, clock: SetClock, bind: str, named: set[str]
) -> None:
    arguments = pki_arguments(Config(bind_address=bind), HostView(("192.0.2.7",), "192.0.2.7"))
    pki = Pki.ensure(tmp_path, clock=clock, randomness=SeededRandomness(1), **arguments)
    ordinary = {"127.0.0.1", "::1", "10.43.0.1", "192.0.2.7"}
    assert set(described(pki.leaf(SERVING)).addresses) == ordinary | named


def test_keys_that_nobody_uses_are_removed(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    for name in ("scheduler", "controller-manager", "node-client"):
        pki.path(name).write_bytes(b"of an earlier version")
    before = {path.stem for path in pki.directory.glob("*.pem")}
    used = {SERVING, KUBELET_SERVING, ADMIN, KUBELET_CLIENT, "front-proxy-client"}
    assert before - used == {"scheduler", "controller-manager", "node-client"}
    ensure(tmp_path, clock)
    assert {path.stem for path in pki.directory.glob("*.pem")} == used


def test_secrets_are_for_the_owner_only(tmp_path: Path, clock: SetClock) -> None:
    ensure(tmp_path, clock)
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "pki").iterdir()}
    assert {name for name, mode in modes.items() if mode != 0o600} == {
        "ca.crt",
        "front-proxy-ca.crt",
    }


def test_ensure_again_changes_nothing(tmp_path: Path, clock: SetClock) -> None:
    ensure(tmp_path, clock)
    before = contents(tmp_path)
    ensure(tmp_path, clock)
    assert contents(tmp_path) == before


def test_new_address_gets_into_the_serving_certificate_at_once(
    tmp_path: Path, clock: SetClock
) -> None:
    pki = ensure(tmp_path, clock)
    admin = pki.path(ADMIN).read_bytes()
    made = pki.update(names=NAMES, addresses=(*ADDRESSES, "192.0.2.8"), node_name="one")
    assert sorted(made) == ["apiserver", "kubelet-serving"]
    assert "192.0.2.8" in described(pki.leaf(SERVING)).addresses
    assert pki.path(ADMIN).read_bytes() == admin


def test_leaves_renew_when_a_third_is_left(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    assert pki.renew() == []
    clock.date = pki.next_renewal()
    assert len(pki.renew()) == 5
    assert pki.next_renewal() > clock.date


def test_a_clock_in_the_past_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClockNotSet, match="1970-01-01"):
        ensure(tmp_path, SetClock(datetime(1970, 1, 1, tzinfo=UTC)))
    assert not (tmp_path / "pki").exists()


async def test_waits_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SetClock(datetime(1970, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(module, "CLOCK_LOOK_SECONDS", 0)
    waiting = asyncio.create_task(wait_for_clock(clock))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.date = datetime(2026, 9, 1, tzinfo=UTC)
    await waiting


async def test_keep_fresh_renews_when_due(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = await asyncio.to_thread(ensure, tmp_path, clock)
    monkeypatch.setattr(module, "CLOCK_LOOK_SECONDS", 0)
    clock.date = pki.next_renewal()
    heard: asyncio.Queue[object] = asyncio.Queue()
    keeper = asyncio.create_task(pki.keep_fresh(heard.put_nowait))
    assert len(await asyncio.wait_for(heard.get(), 10)) == 5  # type: ignore[arg-type]  # it is a list of names
    keeper.cancel()


def test_damaged_leaf_is_made_anew(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    pki.path(ADMIN).write_bytes(b"torn")
    assert described(ensure(tmp_path, clock).leaf(ADMIN)).common_name == "kubernetes-admin"


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "service-account.key"])
def test_damaged_authority_is_never_replaced(tmp_path: Path, clock: SetClock, name: str) -> None:
    ensure(tmp_path, clock)
    (tmp_path / "pki" / name).write_bytes(b"torn")
    with pytest.raises(KeysDamaged, match=name.partition(".")[0]):
        ensure(tmp_path, clock)
    assert (tmp_path / "pki" / name).read_bytes() == b"torn"


def test_rotated_authority_keeps_old_clients(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    old_pem, old_admin = pki.ca_pem, tmp_path / "old.pem"
    old_admin.write_bytes(pki.path(ADMIN).read_bytes())
    server = pki.server_context()
    pki.rotate_authority()
    shake_hands(server, client_context(old_pem, old_admin))
    shake_hands(server, pki.client_context(ADMIN))
    again = ensure(tmp_path, clock)
    assert again.ca_hash == pki.ca_hash
    assert again.renew() == []
    assert len(again.trusted) == 2


def test_rotation_cut_short_is_finished(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    old_key = (tmp_path / "pki" / "ca.key").read_bytes()
    pki.rotate_authority()
    (tmp_path / "pki" / "ca.key").rename(tmp_path / "pki" / "ca.next.key")
    (tmp_path / "pki" / "ca.key").write_bytes(old_key)
    assert ensure(tmp_path, clock).ca_hash == pki.ca_hash


def test_live_server_shows_the_renewed_certificate(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    server, client = pki.server_context(), pki.client_context(ADMIN)
    first = shake_hands(server, client)
    pki.renew(force=True)
    assert shake_hands(server, client) != first


def test_foreign_client_certificate_is_refused(tmp_path: Path, clock: SetClock) -> None:
    pki, foreign = ensure(tmp_path / "a", clock), ensure(tmp_path / "b", clock)
    stranger = client_context(pki.ca_pem, foreign.path(ADMIN))
    with pytest.raises(ssl.SSLError):
        shake_hands(pki.server_context(), stranger)


@pytest.mark.parametrize("days", [-400, 400])
def test_expired_and_early_certificates_are_refused(
    tmp_path: Path, clock: SetClock, days: int
) -> None:
    pki, key = ensure(tmp_path, clock), new_key()
    date = clock.date + timedelta(days=days)
    certificate = issue(pki.authority, key.public_key(), Wanted("late"), date, SeededRandomness(2))
    pair = tmp_path / "late.pem"
    pair.write_bytes(key_pem(key) + certificate_pem(certificate))
    with pytest.raises(ssl.SSLError):
        shake_hands(pki.server_context(), client_context(pki.ca_pem, pair))


def test_kubeconfig_embeds_the_identity(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    document = yaml.safe_load(pki.kubeconfig("https://127.0.0.1:6443"))
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_signing_key_rotation_keeps_the_old_key(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    first = pki.signing_keys[0]
    pki.rotate_signing_key()
    again = ensure(tmp_path, clock)
    assert len(again.signing_keys) == 2
    assert again.signing_keys[1].private_numbers() == first.private_numbers()


def test_list_shows_authorities_first(tmp_path: Path, clock: SetClock) -> None:
    pki = ensure(tmp_path, clock)
    pki.rotate_authority()
    listed = pki.list_certificates()
    assert [leaf.name for leaf in listed[:3]] == [CA, "ca (retired)", "front-proxy-ca"]
    assert all(not leaf.is_authority for leaf in listed[3:])
    assert authority_hash(pki.authority.certificate) == pki.ca_hash


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """Run a handshake in memory; return the server's certificate. Raises SSLError of either side."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(down, up, server_hostname="localhost")
    answerer = server.wrap_bio(up, down, server_side=True)
    pending = [caller, answerer]
    while pending:
        for side in list(pending):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(side)
    certificate = caller.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_reading_makes_nothing(tmp_path: Path, clock: SetClock) -> None:
    made = ensure(tmp_path, clock)
    (made.path(ADMIN)).unlink()
    before = contents(tmp_path)
    read = Pki.read(tmp_path / "pki", clock=clock, randomness=SeededRandomness(2))
    names = [leaf.name for leaf in read.list_certificates()]
    assert names[:2] == ["ca", "front-proxy-ca"]
    assert SERVING in names
    assert ADMIN not in names
    assert contents(tmp_path) == before
