"""Where the program lies that a service manager starts."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from kubelite.installing.program import (
    Place,
    Program,
    Started,
    locate,
    read_places,
    require_guarded,
    require_lasting,
)
from kubelite.installing.refusal import NotInstallable

VENV = Started(
    argument="/opt/kubelite/bin/kubelite",
    interpreter="/opt/kubelite/bin/python3",
    is_frozen=False,
    is_zip=False,
    package="/opt/kubelite/lib/python3.11/site-packages",
    search_path=("",),
    working_folder="/root",
)
MODULE = replace(VENV, argument="/opt/kubelite/lib/python3.11/site-packages/kubelite/__main__.py")


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        (VENV, Program(("/opt/kubelite/bin/kubelite",))),
        (
            replace(VENV, argument="bin/kubelite", working_folder="/opt/kubelite"),
            Program(("/opt/kubelite/bin/kubelite",)),
        ),
        (replace(VENV, argument="../opt//kubelite"), Program(("/opt/kubelite",))),
        (MODULE, Program(("/opt/kubelite/bin/python3", "-m", "kubelite"))),
        (
            replace(
                VENV,
                argument="kubelite.pyz",
                is_zip=True,
                package="/root/.shiv/kubelite_0/site-packages",
            ),
            Program(("/opt/kubelite/bin/python3", "/root/kubelite.pyz"), unpacks=True),
        ),
        (
            replace(
                VENV,
                argument="x",
                interpreter="/usr/local/bin/kubelite",
                is_frozen=True,
                package="/tmp/_MEI1",
            ),
            Program(("/usr/local/bin/kubelite",), forks=True),
        ),
    ],
)
def test_each_form_is_started_as_it_was(started: Started, expected: Program) -> None:
    assert locate(started) == expected


@pytest.mark.parametrize(
    "started",
    [
        replace(
            MODULE,
            package="/root/src",
            argument="/root/src/kubelite/__main__.py",
            search_path=("src", ""),
        ),
        replace(
            MODULE, package="/root", argument="/root/kubelite/__main__.py"
        ),  # the working folder
        replace(VENV, package="/srv/src", search_path=("/srv/src",)),
    ],
)
def test_a_package_that_only_this_shell_finds_is_refused(started: Started) -> None:
    with pytest.raises(NotInstallable, match="install the package first"):
        locate(started)


@pytest.mark.parametrize(
    ("program", "command"),
    [
        (Program(("/usr/local/bin/kubelite",)), "/usr/local/bin/kubelite"),
        (Program(("/usr/bin/python3", "/opt/kubelite.pyz")), "/opt/kubelite.pyz"),
        (Program(("/usr/bin/python3", "-m", "kubelite")), ""),
    ],
)
def test_what_a_user_runs(program: Program, command: str) -> None:
    assert program.command == command


MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /mnt/in\\040memory tmpfs rw 0 0
/dev/vdb /srv ext4 rw 0 0
"""


@pytest.mark.parametrize(
    "path",
    ["/tmp/kubelite", "/var/tmp/x/kubelite", "/run/user/0/k", "/dev/shm/k", "/mnt/in memory/k"],
)
def test_a_place_that_goes_away_is_refused(path: str) -> None:
    with pytest.raises(NotInstallable, match="goes away; move it, to /usr/local/bin for one"):
        require_lasting(["/usr/bin/python3", path], MOUNTS)


def test_other_places_last() -> None:
    require_lasting(["/usr/local/bin/kubelite", "/tmpfiles/kubelite", "/srv/kubelite"], MOUNTS)
    require_lasting(["/usr/local/bin/kubelite"], "tmpfs / tmpfs rw 0 0\n")  # so does all else then


def test_what_any_user_may_change_is_refused() -> None:
    places = [Place("/opt/kubelite", 0o100755, 0), Place("/opt", 0o41777, 0)]
    with pytest.raises(NotInstallable, match="any user may change /opt, and with it what root is"):
        require_guarded(places)


def test_what_another_user_owns_is_a_warning() -> None:
    places = [Place("/home/eve/kubelite", 0o755, 1000), Place("/home/eve", 0o755, 1000)]
    assert require_guarded(places) == [
        "user 1000 owns /home/eve/kubelite, and so can change what root is to run"
    ]
    assert require_guarded([Place("/opt/kubelite", 0o755, 0)]) == []


def test_links_and_what_they_lead_to_are_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "real").touch()
    link = tmp_path / "link"
    link.symlink_to(folder / "real")
    found = {place.path for place in read_places([str(link)])}
    assert {str(link), str(folder / "real"), str(folder), "/"} <= found
