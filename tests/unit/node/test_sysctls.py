"""Which sysctls pods of a node may set."""

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.sysctls import InvalidSysctlPattern, allow_list, forbidden_sysctl

KERNEL = "6.18.0-1-amd64"


def pod_with(name: str, **spec: bool) -> Pod:
    context = {"sysctls": [{"name": name, "value": "1"}]}
    return msgspec.convert({"spec": {"securityContext": context, **spec}}, Pod)


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("kernel.shm_rmid_forced", {}, ""),
        ("net.ipv4.tcp_syncookies", {}, ""),
        ("net/ipv4/tcp_wmem", {}, ""),
        ("kernel.msgmax", {}, '"kernel.msgmax" not allowlisted'),
        ("kernel/msgmax", {}, '"kernel.msgmax" not allowlisted'),
        ("kernel.core_pattern", {}, '"kernel.core_pattern" not allowlisted'),
        ("net.ipv4.tcp_syncookiesx", {}, '"net.ipv4.tcp_syncookiesx" not allowlisted'),
        (
            "net.ipv6.conf.default.disable_ipv6",
            {},
            '"net.ipv6.conf.default.disable_ipv6" not allowlisted',
        ),
        (
            "net.ipv4.tcp_syncookies",
            {"hostNetwork": True},
            '"net.ipv4.tcp_syncookies" not allowed with host Net enabled',
        ),
        (
            "kernel.shm_rmid_forced",
            {"hostIPC": True},
            '"kernel.shm_rmid_forced" not allowed with host IPC enabled',
        ),
        ("net.ipv4.tcp_syncookies", {"hostIPC": True}, ""),
    ],
)
def test_what_stays_inside_a_pod_is_allowed(name: str, spec: dict[str, bool], message: str) -> None:
    expected = f"forbidden sysctl: {message}" if message else ""
    assert forbidden_sysctl(pod_with(name, **spec), allow_list(KERNEL)) == expected


def test_a_pod_without_sysctls_is_not_refused() -> None:
    assert forbidden_sysctl(Pod(), allow_list(KERNEL)) == ""


def test_what_an_old_kernel_shares_between_pods_is_not_safe() -> None:
    keepalive = pod_with("net.ipv4.tcp_keepalive_time")
    assert forbidden_sysctl(keepalive, allow_list("4.5.0")) == ""
    assert forbidden_sysctl(keepalive, allow_list("4.4.302")) != ""
    assert forbidden_sysctl(keepalive, allow_list("unknown")) != ""
    assert forbidden_sysctl(pod_with("net.ipv4.tcp_syncookies"), allow_list("unknown")) == ""


@pytest.mark.parametrize(
    ("pattern", "name", "host_ipc", "allowed"),
    [
        ("kernel.msg*", "kernel.msgmax", False, True),
        ("kernel.msg*", "kernel.msgmax", True, False),
        ("kernel.msg*", "kernel.msgfuture", True, False),
        ("kernel.msg*", "kernel.shmmax", False, False),
        ("net.core.somaxconn", "net/core/somaxconn", False, True),
        ("net/core/*", "net.core.somaxconn", False, True),
    ],
)
def test_an_administrator_can_allow_more(
    pattern: str, name: str, host_ipc: bool, allowed: bool
) -> None:
    refusal = forbidden_sysctl(pod_with(name, hostIPC=host_ipc), allow_list(KERNEL, (pattern,)))
    assert (refusal == "") is allowed


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv6.conf.default.disable_ipv6",
        "net.ipv6.conf.all.disable_ipv6",
        "net/ipv6/conf/eth0.1/disable_ipv6",
    ],
)
def test_what_the_node_sets_no_pattern_allows(name: str) -> None:
    allowed = allow_list(KERNEL, ("net.*", "net.ipv6.conf.default.disable_ipv6"))
    assert "not allowlisted" in forbidden_sysctl(pod_with(name), allowed)
    assert forbidden_sysctl(pod_with("net.ipv6.conf.default.hop_limit"), allowed) == ""


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("vm.*", 'the sysctls "vm." are not known to be namespaced'),
        ("*", 'the sysctls "" are not known to be namespaced'),
        ("kernel.*", 'the sysctls "kernel." are not known to be namespaced'),
        ("net.*.x", "must have at most 253 characters and match regex"),
        ("", "must have at most 253 characters and match regex"),
    ],
)
def test_nothing_of_the_whole_host_can_be_allowed(pattern: str, message: str) -> None:
    with pytest.raises(InvalidSysctlPattern, match=message.replace("*", r"\*")):
        allow_list(KERNEL, (pattern,))
