"""What an installation writes and runs, as a table of values."""

from pathlib import Path

import pytest

from kubelite.config import AgentConfig, Config
from kubelite.installing.plan import (
    Given,
    Manager,
    forget_commands,
    given,
    places,
    plan_installation,
    stop_commands,
)
from kubelite.installing.program import Program
from kubelite.installing.refusal import NotInstallable

PROGRAM = Program(("/opt/kubelite/bin/kubelite",))
GIVEN = Given(("--disable-agent",), {"KUBELITE_TOKEN": "secret"})
UNIT = Path("/etc/systemd/system/kubelite.service")


def test_secrets_go_into_the_environment_file_alone() -> None:
    flags = {"token": "k10.secret", "join": ("https://a:6443", "https://b:6443"), "debug": True}
    found = given(AgentConfig, flags, {"KUBELITE_TOKEN": "other"}, "/root")
    assert set(found.flags) == {"--debug", "--join=https://a:6443", "--join=https://b:6443"}
    assert found.variables == {"KUBELITE_TOKEN": "k10.secret"}
    plan = plan_installation("agent", PROGRAM, found, Manager.SYSTEMD, is_found=True)
    assert [(file.mode, "secret" in file.content) for file in plan.files] == [
        (0o600, True),
        (0o644, False),
    ]


def test_paths_no_longer_depend_on_the_working_folder() -> None:
    flags = {
        "data_dir": "data",
        "write_kubeconfig": "../k.yaml",
        "tls_san": ("a",),
        "docker_socket": None,
    }
    variables = {
        "KUBELITE_TOKEN_AUTH_FILE": "tokens",
        "KUBELITE_NODE_NAME": "n",
        "KUBELITE_AUDIT_LOG_PATH": "",
    }
    found = given(Config, flags, variables, "/srv/here")
    assert set(found.flags) == {
        "--data-dir=/srv/here/data",
        "--write-kubeconfig=/srv/k.yaml",
        "--tls-san=a",
    }
    assert found.variables == {**variables, "KUBELITE_TOKEN_AUTH_FILE": "/srv/here/tokens"}


@pytest.mark.parametrize(
    ("options", "commands", "start"),
    [
        (
            {},
            [
                ("systemctl", "daemon-reload"),
                ("systemctl", "enable", "--quiet", "kubelite.service"),
            ],
            ("systemctl", "restart", "kubelite.service"),
        ),
        ({"enables": False, "starts": False}, [("systemctl", "daemon-reload")], ()),
        (
            {"is_running": False, "starts": False},
            [("systemctl", "enable", "--quiet", "kubelite.service")],
            (),
        ),
    ],
)
def test_systemd(
    options: dict[str, bool], commands: list[tuple[str, ...]], start: tuple[str, ...]
) -> None:
    plan = plan_installation("server", PROGRAM, GIVEN, Manager.SYSTEMD, is_found=True, **options)
    assert [(str(file.path), file.mode) for file in plan.files] == [
        ("/etc/systemd/system/kubelite.service.env", 0o600),
        ("/etc/systemd/system/kubelite.service", 0o644),
    ]
    assert (list(plan.commands), plan.start, plan.name) == (commands, start, "kubelite")


def test_openrc() -> None:
    plan = plan_installation("agent", PROGRAM, GIVEN, Manager.OPENRC, is_found=True)
    assert [(str(file.path), file.mode) for file in plan.files] == [
        ("/etc/kubelite/kubelite-agent.env", 0o600),
        ("/etc/init.d/kubelite-agent", 0o755),
    ]
    assert plan.commands == (("rc-update", "add", "kubelite-agent", "default"),)
    assert plan.start == ("rc-service", "kubelite-agent", "restart")


def test_without_a_service_manager_a_user_hears_what_to_run() -> None:
    found = Given(("--tls-san=a b",), {})
    with pytest.raises(
        NotInstallable, match=r"run, as root: /opt/kubelite/bin/kubelite server '--tls-san=a b'$"
    ):
        plan_installation("server", PROGRAM, found, Manager.NONE, is_found=True)


@pytest.mark.parametrize(
    ("program", "is_found", "link"),
    [
        (PROGRAM, True, None),
        (PROGRAM, False, (Path("/usr/local/bin/kubelite"), "/opt/kubelite/bin/kubelite")),
        (Program(("/usr/bin/python3", "-m", "kubelite")), False, None),
    ],
)
def test_a_program_that_no_shell_finds_gets_a_link(
    program: Program, is_found: bool, link: tuple[Path, str] | None
) -> None:
    plan = plan_installation("server", program, GIVEN, Manager.SYSTEMD, is_found=is_found)
    assert plan.link == link


def test_removal() -> None:
    assert stop_commands("server", Manager.SYSTEMD) == (
        ("systemctl", "disable", "--quiet", "--now", "kubelite.service"),
    )
    assert stop_commands("agent", Manager.OPENRC)[0] == (
        "rc-service",
        "--ifstarted",
        "kubelite-agent",
        "stop",
    )
    assert ("systemctl", "daemon-reload") in forget_commands("agent", Manager.SYSTEMD)
    assert forget_commands("agent", Manager.OPENRC) == ()
    # The unit tells what flags the service had, so it goes last.
    assert places("server", Manager.SYSTEMD).own == (UNIT.with_name("kubelite.service.env"), UNIT)
