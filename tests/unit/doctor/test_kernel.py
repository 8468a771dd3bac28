import pytest
from msgspec.structs import replace

from kubelite.doctor.kernel import LINKS, NAMESPACES, Kernel, judge
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

GOOD = Kernel(
    "6.1.0-13-amd64",
    {"overlay": True, **dict.fromkeys(LINKS, True)},
    frozenset({*NAMESPACES, "user", "cgroup"}),
    15000,
    "",
)


def test_a_good_kernel() -> None:
    assert bad(judge(GOOD, SERVER)) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"release": "5.2.21"}, ["error: the kernel is 5.2.21"]),
        ({"release": "4.19.0-26"}, ["error: the kernel is 4.19.0-26"]),
        ({"release": "5.4.0-generic"}, ["warning: the kernel is 5.4.0-generic"]),
        ({"release": "of mine"}, ["error: the kernel is of mine"]),
        (
            {"namespaces": frozenset(NAMESPACES) - {"pid"}},
            ["error: the kernel lacks namespaces: pid"],
        ),
        ({"users_max": 0}, ["note: user namespaces are switched off"]),
        ({"users_max": None}, ["note: user namespaces are switched off"]),
        (
            {"features": {**GOOD.features, "overlay": False}},
            ["warning: the kernel has no overlay file system"],
        ),
        ({"features": {**GOOD.features, "veth": False}}, ["error: the kernel has no veth links"]),
        (
            {"features": {**GOOD.features, "vxlan": False}},
            ["warning: the kernel has no vxlan links"],
        ),
        (
            {"features": {**GOOD.features, "bridge": None}},
            ["note: not examined: links of the kernel (bridge): it does not tell"],
        ),
        (
            {"rules": "Could not process rule: No such file"},
            [
                "error: the kernel refuses the rules of Services: Could not process rule: No such file"
            ],
        ),
        (
            {"rules": None},
            ["note: not examined: whether the kernel takes the rules of Services: needs root"],
        ),
    ],
)
def test_kernels(changes: dict[str, object], found: list[str]) -> None:
    assert bad(judge(replace(GOOD, **changes), SERVER)) == found


def test_a_control_plane_needs_no_network() -> None:
    kernel = Kernel("6.1.0", dict.fromkeys(LINKS, False), frozenset(), 0, "refused")
    assert bad(judge(kernel, CONTROL_PLANE)) == []


def test_plugins_of_the_host_bring_their_own_network() -> None:
    kernel = replace(GOOD, features={"overlay": True, "bridge": False}, rules="refused")
    assert bad(judge(kernel, replace(SERVER, owns_network=False))) == []
