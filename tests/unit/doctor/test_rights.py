import pytest
from msgspec.structs import replace

from kubelite.doctor.rights import (
    CAP_NET_ADMIN,
    Rights,
    effective_capabilities,
    gather,
    judge,
    lacks_network,
)
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

ALL = Rights((1 << 41) - 1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"has_apparmor": True}, []),
        ({"has_selinux": True}, ["warning: SELinux is enforcing"]),
        ({"has_seccomp": False}, ["note: the kernel has no seccomp"]),
        (
            {"capabilities": ALL.capabilities & ~(1 << 24)},
            ["note: this process lacks CAP_SYS_RESOURCE"],
        ),
        (
            {"capabilities": 0},
            ["error: this process lacks CAP_NET_ADMIN", "error: this process lacks CAP_SYS_ADMIN"],
        ),
    ],
)
def test_rights(changes: dict[str, object], found: list[str]) -> None:
    assert bad(judge(replace(ALL, **changes), SERVER)) == found


def test_a_control_plane_needs_none() -> None:
    assert bad(judge(Rights(0, 1000), CONTROL_PLANE)) == []


def test_the_status_of_a_process() -> None:
    bits = effective_capabilities("CapPrm:\t0\nCapEff:\t0000000000001000\nCapBnd:\tff\n")
    assert bits == 1 << CAP_NET_ADMIN
    assert not lacks_network(Rights(bits))
    assert lacks_network(Rights(effective_capabilities("")))
    assert gather().has_seccomp in (True, False)
