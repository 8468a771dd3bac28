"""Names of sysctls."""

import pytest

from kubelite.api.machinery.sysctls import is_name, is_pattern, namespace_of, normalized


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net.ipv4.tcp_syncookies", "net.ipv4.tcp_syncookies"),
        ("net/ipv4/tcp_syncookies", "net.ipv4.tcp_syncookies"),
        ("net/ipv6/conf/eth0.1/disable_ipv6", "net.ipv6.conf.eth0/1.disable_ipv6"),
        ("net.ipv6.conf.eth0/1.disable_ipv6", "net.ipv6.conf.eth0/1.disable_ipv6"),
        ("kernel", "kernel"),
        ("", ""),
    ],
)
def test_a_name_has_one_normal_spelling(name: str, expected: str) -> None:
    assert normalized(name) == expected
    assert normalized(expected) == expected


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("net.core.somaxconn", "Net"),
        ("network.core", ""),
        ("kernel.shm_rmid_forced", "IPC"),
        ("kernel.shmmax", "IPC"),
        ("kernel.msgmax", "IPC"),
        ("kernel.semaphore", ""),
        ("kernel.shmfoo", ""),
        ("fs.mqueue.msg_max", "IPC"),
        ("kernel.core_pattern", ""),
        ("vm.swappiness", ""),
    ],
)
def test_only_what_the_kernel_keeps_apart_has_a_namespace(name: str, namespace: str) -> None:
    assert namespace_of(name) == namespace


@pytest.mark.parametrize(
    ("text", "name", "pattern"),
    [
        ("net.ipv4.tcp_syncookies", True, True),
        ("net/ipv4/tcp_syncookies", True, True),
        ("net.*", False, True),
        ("kernel.msg*", False, True),
        ("net.ipv4.tcp_syncookies\n", False, False),
        ("net..x", False, False),
        ("../kernel", False, False),
        ("Net.x", False, False),
        ("net.٣", False, False),
        ("a" * 253, True, True),
        ("a" * 254, False, False),
    ],
)
def test_names_and_patterns(text: str, name: bool, pattern: bool) -> None:
    assert is_name(text) is name
    assert is_pattern(text) is pattern
