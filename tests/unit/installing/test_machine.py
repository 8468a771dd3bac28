"""Files and commands of an installation on a machine of the test's own, with a systemctl that writes down its calls."""

import os
import stat
from pathlib import Path

import pytest

from kubelite.installing.machine import Installed, Machine
from kubelite.installing.plan import Given, Manager, Plan, plan_installation
from kubelite.installing.program import Program
from kubelite.installing.refusal import NotInstallable

PROGRAM = Program(("/opt/kubelite/bin/kubelite",))
GIVEN = Given(("--disable-agent", "--tls-san=a b"), {"KUBELITE_TOKEN": "se cret"})
SYSTEMCTL = '#!/bin/sh\necho "$0 $*" | sed "s|.*/||" >> {log}\n{more}\n'


class Bed:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "calls"
        self.log.touch()
        for folder in ("run/systemd/system", "etc/systemd/system", "bin"):
            (root / folder).mkdir(parents=True)
        self.program("systemctl")
        self.program("journalctl", "echo one; echo two")
        self.environment = {"PATH": f"{root}/bin:/usr/bin:/bin"}
        self.machine = Machine(root, self.environment)
        self.told: list[str] = []
        self.installs = PROGRAM

    def program(self, name: str, more: str = "") -> None:
        path = self.root / "bin" / name
        path.write_text(SYSTEMCTL.format(log=self.log, more=more))
        path.chmod(0o755)

    def plan(self, kind: str = "server", given: Given = GIVEN) -> Plan:
        return plan_installation(
            kind,
            self.installs,
            given,
            self.machine.manager,
            is_found=self.machine.finds_program(self.machine.installed(kind)),
        )

    def install(self, kind: str = "server", given: Given = GIVEN) -> None:
        plan = self.plan(kind, given)
        self.machine.carry_out(plan, self.told.append)
        self.machine.start(plan, self.told.append, 20.0)

    def files(self) -> dict[str, str]:
        found = {}
        for folder in ("etc", "usr"):
            for path in sorted((self.root / folder).rglob("*")):
                if not path.is_dir() or path.is_symlink():
                    mode = stat.S_IMODE(path.lstat().st_mode)
                    found[str(path.relative_to(self.root))] = f"{mode:o}"
        return found


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    monkeypatch.setenv(
        "PATH", f"{tmp_path}/bin:{os.environ['PATH']}"
    )  # where a program is looked for
    return Bed(tmp_path)


def test_an_installation_is_enabled_and_started_after_its_files_are_there(bed: Bed) -> None:
    os.umask(0o077)
    try:
        bed.install()
    finally:
        os.umask(0o022)
    assert bed.files() == {
        "etc/systemd/system/kubelite.service": "644",
        "etc/systemd/system/kubelite.service.env": "600",
        "usr/local/bin/kubelite": "777",
    }
    link = bed.root / "usr/local/bin/kubelite"
    assert link.readlink() == Path("/opt/kubelite/bin/kubelite")
    calls = [line for line in bed.log.read_text().splitlines() if line.startswith("systemctl")]
    assert calls == [
        "systemctl daemon-reload",
        "systemctl enable --quiet kubelite.service",
        "systemctl restart kubelite.service",
    ]
    assert bed.machine.installed("server") == Installed(
        "server", ("/opt/kubelite/bin/kubelite", "server", *GIVEN.flags), GIVEN
    )
    assert bed.machine.installed("agent") is None


def test_a_second_installation_changes_what_differs_and_restarts(bed: Bed) -> None:
    bed.install()
    before = bed.files()
    bed.told.clear()
    bed.install()
    assert bed.told[:2] == [
        "kept /etc/systemd/system/kubelite.service.env",
        "kept /etc/systemd/system/kubelite.service",
    ]
    bed.told.clear()
    bed.install(given=Given((), GIVEN.variables))
    assert bed.told[1] == "wrote /etc/systemd/system/kubelite.service"
    assert bed.files() == before
    assert bed.log.read_text().count("systemctl restart kubelite.service") == 3


def test_an_environment_file_that_others_could_read_is_closed(bed: Bed) -> None:
    bed.install()
    path = bed.root / "etc/systemd/system/kubelite.service.env"
    path.chmod(0o644)
    bed.install()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_removal_leaves_nothing_and_may_be_repeated(bed: Bed) -> None:
    before = bed.files()
    for kind in ("server", "agent"):
        bed.install(kind)
    for kind in ("server", "agent"):
        installed = bed.machine.installed(kind)
        assert installed is not None
        bed.machine.stop(kind)
        bed.machine.remove(installed, bed.told.append)
        bed.machine.remove(installed, bed.told.append)
        assert bed.machine.installed(kind) is None
    assert bed.files() == before


def test_a_link_and_a_program_of_others_stay(bed: Bed) -> None:
    link = bed.root / "usr/local/bin/kubelite"
    link.parent.mkdir(parents=True)
    link.symlink_to("/elsewhere/kubelite")
    bed.install()
    installed = bed.machine.installed("server")
    assert installed is not None
    bed.machine.remove(installed, bed.told.append)
    assert link.readlink() == Path("/elsewhere/kubelite")


def test_the_link_follows_an_upgrade_to_a_program_elsewhere(bed: Bed) -> None:
    bed.install()
    bed.installs = Program(("/opt/newer/bin/kubelite",))
    bed.install()
    assert (bed.root / "usr/local/bin/kubelite").readlink() == Path("/opt/newer/bin/kubelite")
    installed = bed.machine.installed("server")
    assert installed is not None
    bed.machine.remove(installed, bed.told.append)
    assert bed.files() == {}


def test_a_start_that_fails_shows_the_log_and_why(bed: Bed) -> None:
    bed.program("systemctl", 'case $1 in restart) echo "Job failed." >&2; exit 1;; esac')
    with pytest.raises(
        NotInstallable,
        match=r"^kubelite does not start, .*: Job failed\.; see journalctl -u kubelite$",
    ):
        bed.install()
    assert bed.told[-2:] == ["one", "two"]


def test_a_start_that_takes_too_long_is_told(bed: Bed) -> None:
    bed.program("systemctl", "case $1 in restart) exec sleep 60;; esac")
    plan = bed.plan()
    with pytest.raises(
        NotInstallable, match=r"not ready after 2 s, and goes on trying; see journalctl"
    ):
        bed.machine.start(plan, bed.told.append, 2.0)
    assert bed.told == ["one", "two"]  # what it logs meanwhile, each line once


def test_a_command_that_fails_is_told(bed: Bed) -> None:
    bed.program("systemctl", "echo no such unit >&2; exit 5")
    with pytest.raises(NotInstallable, match="cannot run systemctl daemon-reload: no such unit"):
        bed.install()


@pytest.mark.parametrize(
    ("folders", "files", "manager", "is_booted"),
    [
        (["run/systemd/system", "etc/systemd"], [], Manager.SYSTEMD, True),
        (["etc/systemd"], ["bin/systemctl"], Manager.SYSTEMD, False),  # an image that is being made
        (["run/openrc"], ["sbin/openrc-run"], Manager.OPENRC, True),
        ([], ["sbin/openrc-run"], Manager.OPENRC, False),
        ([], [], Manager.NONE, False),
    ],
)
def test_which_service_manager_is_here(
    tmp_path: Path, folders: list[str], files: list[str], manager: Manager, is_booted: bool
) -> None:
    for name in (*folders, "bin", "sbin"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in files:
        (tmp_path / name).touch(mode=0o755)
    machine = Machine(tmp_path, {"PATH": f"{tmp_path}/bin"})
    assert (machine.manager, machine.is_booted) == (manager, is_booted)


def test_what_may_be_in_the_way_is_told(bed: Bed) -> None:
    assert bed.machine.words("server") == []
    for name, content in (("etc/ufw/ufw.conf", "ENABLED=yes\n"), ("sys/fs/selinux/enforce", "1")):
        (bed.root / name).parent.mkdir(parents=True)
        (bed.root / name).write_text(content)
    (bed.root / "run/firewalld").mkdir()
    bed.install("agent")
    assert [line.split()[0] for line in bed.machine.words("server")] == [
        "ufw",
        "firewalld",
        "SELinux",
        "the",
    ]


def test_in_an_image_that_is_made_nothing_is_stopped(bed: Bed) -> None:
    bed.install()
    (bed.root / "run/systemd/system").rmdir()
    bed.log.write_text("")
    installed = bed.machine.installed("server")
    assert installed is not None
    bed.machine.stop("server")
    bed.machine.remove(installed, bed.told.append)
    assert bed.log.read_text() == "systemctl disable --quiet kubelite.service\n"
