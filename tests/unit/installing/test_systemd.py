"""Units, which systemd itself verifies, and the flags that are read back from them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.installing.program import Program
from kubelite.installing.refusal import NotInstallable
from kubelite.installing.systemd import flags_of, read_command, unit_text

ENVIRONMENT = Path("/etc/systemd/system/kubelite.service.env")
PROGRAM = Program(("/usr/bin/env",))
HARD = ["--tls-san=a b", '--x="', "--y=\\", "--z=$HOME", "--p=100%i", "--q='", "--e=é", "--n="]


def directives(unit: str) -> dict[str, str]:
    lines = unit.replace("\\\n", " ").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_a_unit_says_what_a_service_of_pods_needs() -> None:
    found = directives(unit_text("server", PROGRAM, ("--disable-agent",), ENVIRONMENT))
    assert found["ExecStart"].split() == ["/usr/bin/env", "server", "--disable-agent"]
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "Restart": "always",
        "Delegate": "yes",
        "KillMode": "process",
        "TasksMax": "infinity",
        "LimitNOFILE": "1048576",
        "OOMScoreAdjust": "-999",
        "WatchdogSec": "180s",
        "EnvironmentFile": f"-{ENVIRONMENT}",
        "Conflicts": "kubelite-agent.service",
        "WantedBy": "multi-user.target",
        "Wants": "network-online.target",
    }
    assert {name: found[name] for name in expected} == expected
    assert {"network-online.target", "docker.service", "containerd.service"} <= set(
        found["After"].split()
    )


def test_forms_of_the_program_differ_in_who_may_notify_and_in_a_cache() -> None:
    single = directives(unit_text("agent", Program(("/usr/bin/env",), forks=True), (), ENVIRONMENT))
    assert (single["NotifyAccess"], single["Conflicts"]) == ("all", "kubelite.service")
    zipped = Program(("/usr/bin/python3", "/opt/kubelite.pyz"), unpacks=True)
    found = directives(unit_text("server", zipped, (), ENVIRONMENT))
    assert (found["CacheDirectory"], found["Environment"]) == ("kubelite", "SHIV_ROOT=%C/kubelite")
    assert (single["CacheDirectory"], single["Environment"]) == ("kubelite", "TMPDIR=%C/kubelite")
    assert "CacheDirectory" not in directives(unit_text("agent", PROGRAM, (), ENVIRONMENT))


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30), max_size=5
    )
)
def test_flags_are_read_back(flags: list[str]) -> None:
    unit = unit_text("server", PROGRAM, flags, ENVIRONMENT)
    assert list(flags_of(read_command(unit), "server")) == flags


@pytest.mark.parametrize(
    "unit", ["", "ExecStart=/usr/bin/env", 'ExecStart=/bin/x server "--a', "[Unit]\n"]
)
def test_a_unit_that_somebody_has_changed_has_no_flags(unit: str) -> None:
    assert flags_of(read_command(unit), "server") == ()


@pytest.mark.parametrize("path", ["/opt/$x/kubelite", "/opt/a\nb"])
def test_a_path_that_a_unit_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(NotInstallable, match="cannot start such a path"):
        unit_text("server", Program((path,)), (), ENVIRONMENT)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="needs systemd"
)
def test_systemd_verifies_the_units(tmp_path: Path) -> None:
    program = tmp_path / "a b%"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = [tmp_path / "kubelite.service", tmp_path / "kubelite-agent.service"]
    units[0].write_text(
        unit_text("server", Program((str(program),), unpacks=True), HARD, ENVIRONMENT)
    )
    units[1].write_text(unit_text("agent", Program((str(program),), forks=True), HARD, ENVIRONMENT))
    for unit in units:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
        )
        ours = [line for line in done.stderr.splitlines() if "kubelite" in line]
        assert (done.returncode, ours) == (0, []), done.stderr


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="needs systemd"
)
def test_systemd_finds_a_wrong_unit(tmp_path: Path) -> None:
    unit = tmp_path / "kubelite.service"
    unit.write_text(unit_text("server", Program(("/absent/kubelite",)), (), ENVIRONMENT))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    assert done.returncode != 0
