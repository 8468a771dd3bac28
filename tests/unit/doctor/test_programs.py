import pytest

from kubelite.doctor.programs import MINOR, Programs, judge
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

ALL = {"nft": "nftables v1.0.9", "iptables": "1.8", "kubectl": f"Client Version: v1.{MINOR}.0"}


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        (Programs(ALL, True), []),
        (Programs(ALL, False), ["note: libnftables is not installed, nft is"]),
        (Programs({"kubectl": ""}, False), ["error: neither libnftables nor nft is installed"]),
        (Programs({"kubectl": ""}, True), []),
        (Programs({"kubectl": "", "dockerd": "27"}, True), ["note: iptables is not installed"]),
        (Programs({}, True), ["note: kubectl is not installed"]),
        (Programs({"kubectl": "Client Version: v1.35.3"}, True), []),
        (
            Programs({"kubectl": "Client Version: v1.28.3"}, True),
            ["note: kubectl is of version 1.28"],
        ),
    ],
)
def test_programs(programs: Programs, found: list[str]) -> None:
    assert bad(judge(programs, SERVER)) == found


def test_a_control_plane_makes_no_rules() -> None:
    assert bad(judge(Programs({"kubectl": ""}, False), CONTROL_PLANE)) == []


def test_the_minor_version_is_the_one_that_is_served() -> None:
    from click.testing import CliRunner

    from kubelite.cli import main

    assert f"Kubernetes 1.{MINOR})" in CliRunner().invoke(main, ["version"]).output
