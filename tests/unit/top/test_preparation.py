"""What a server does before its parts are joined."""

import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.net.host_addresses import HostView
from kubelite.preparation import (
    endpoint_address,
    listen,
    open_audit_log,
    read_static_tokens,
    write_kubeconfig,
)
from kubelite.prerequisites import CannotStart, allow_many_files
from kubelite.randomness import SystemRandomness

FILES = resource.RLIMIT_NOFILE


@pytest.fixture
def few_files() -> Iterator[int]:
    soft, hard = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (256, hard))
    yield hard
    resource.setrlimit(FILES, (soft, hard))


def test_the_first_limit_of_open_files_is_raised_to_the_last(few_files: int) -> None:
    allow_many_files()
    assert resource.getrlimit(FILES) == (few_files, few_files)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.csv"
    path.write_text("s3cret,ben,7\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("mode", "refused", "warned"),
    [
        (0o600, False, False),
        (0o400, False, False),
        (0o640, False, True),
        (0o660, False, True),
        (0o644, True, False),
        (0o602, True, False),
        (0o666, True, False),
    ],
)
def test_a_token_file_is_not_for_everybody(
    token_file: Path, caplog: pytest.LogCaptureFixture, mode: int, refused: bool, warned: bool
) -> None:
    token_file.chmod(mode)
    config = Config(token_auth_file=str(token_file))
    if refused:
        with pytest.raises(CannotStart, match=f"anybody may read or change it .*{mode:04o}"):
            read_static_tokens(config)
    else:
        assert read_static_tokens(config) is not None
    assert ("the group of a file of secrets may read it" in caplog.text) is warned


def test_a_token_file_of_somebody_else(token_file: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root to give a file away")
    os.chown(token_file, 4242, -1)
    with pytest.raises(CannotStart, match="user 4242 may read or change it"):
        read_static_tokens(Config(token_auth_file=str(token_file)))


@pytest.mark.parametrize(("mode", "warned"), [("0600", False), ("0640", True), ("0644", True)])
def test_an_open_kubeconfig_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, warned: bool
) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(Config(write_kubeconfig=str(path), write_kubeconfig_mode=mode), "text")
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
    assert ("others may use the administrator's kubeconfig" in caplog.text) is warned


def test_a_group_of_its_own_may_read_the_kubeconfig(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, group = tmp_path / "kubeconfig", os.getgroups()[0] if os.geteuid() else 4242
    for name in (str(group), *(["daemon"] if not os.geteuid() else [])):
        write_kubeconfig(Config(write_kubeconfig=str(path), write_kubeconfig_group=name), "text")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.stat().st_gid == (group if name == str(group) else 1)
    assert "others may use" not in caplog.text
    open_to_all = Config(
        write_kubeconfig=str(path), write_kubeconfig_group=str(group), write_kubeconfig_mode="0644"
    )
    write_kubeconfig(open_to_all, "text")
    assert "others may use the administrator's kubeconfig" in caplog.text


def test_a_group_that_does_not_exist(tmp_path: Path) -> None:
    config = Config(write_kubeconfig=str(tmp_path / "x"), write_kubeconfig_group="no-such-group")
    with pytest.raises(CannotStart, match="no such group; see --write-kubeconfig-group"):
        write_kubeconfig(config, "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "warned"), [(0o644, False), (0o664, True), (0o646, True)])
async def test_an_audit_policy_that_others_may_change_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [level: Metadata]\n")
    path.chmod(mode)
    config = Config(data_dir=str(tmp_path), audit_policy_file=str(path))
    async with AsyncExitStack() as running:
        assert await open_audit_log(config, running, SystemClock(), SystemRandomness())
    assert ("others may change a file that is relied on" in caplog.text) is warned


@pytest.mark.parametrize(
    ("ranges", "primary", "addresses", "expected"),
    [
        ("four", "192.0.2.1", ("192.0.2.1", "2001:db8::1"), "192.0.2.1"),
        ("six", "192.0.2.1", ("192.0.2.1", "2001:db8::1"), "2001:db8::1"),
        ("six", "2001:db8::2", ("192.0.2.1", "2001:db8::1"), "2001:db8::2"),
        ("six", "192.0.2.1", ("192.0.2.1",), ""),
        ("four", "", (), ""),
    ],
)
def test_pods_reach_the_api_at_an_address_of_its_services_family(
    ranges: str, primary: str, addresses: tuple[str, ...], expected: str
) -> None:
    six = Config(cluster_cidr="fd00:42::/56", service_cidr="fd00:43::/112")
    config = six if ranges == "six" else Config()
    assert endpoint_address(config, HostView(addresses, primary)) == expected


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
@pytest.mark.parametrize(
    ("bind", "families"),
    [
        ("127.0.0.1", {socket.AF_INET}),
        ("0.0.0.0", {socket.AF_INET}),
        ("::1", {socket.AF_INET6}),
        ("::", {socket.AF_INET, socket.AF_INET6}),
    ],
)
def test_families_on_which_the_api_listens(bind: str, families: set[socket.AddressFamily]) -> None:
    with listen(Config(bind_address=bind, https_listen_port=0)) as listener:
        port = listener.getsockname()[1]
        reached = set()
        for family, loopback in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as client:
                if client.connect_ex((loopback, port)) == 0:
                    reached.add(family)
    assert reached == families
