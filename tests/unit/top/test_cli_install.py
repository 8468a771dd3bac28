"""The commands around an installation: what is refused before anything is written, and completion."""

import importlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kubelite.cli import main
from kubelite.installing.machine import Machine
from kubelite.installing.program import Program

TOKEN_NEEDED = "cannot join without a token: give --token-file or KUBELITE_TOKEN"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a systemctl that agrees to all."""
    root = tmp_path / "root"
    for folder in ("run/systemd/system", "etc/systemd/system", "bin"):
        (root / folder).mkdir(parents=True)
    for name in ("systemctl", "journalctl"):
        (root / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {root}/calls\n')
        (root / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("kubelite.installing.machine.Machine", lambda: Machine(root))
    program = Program(("/opt/kubelite/bin/kubelite",))
    commands = importlib.import_module(
        "kubelite.cli.install"
    )  # the package has a command of that name
    monkeypatch.setattr(commands, "_program", lambda: (program, []))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("kubelite.installing.checks.require_network_rights", lambda _="": None)
    return root


def invoke(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, arguments, env=variables)


def unit(root: Path, name: str = "kubelite.service") -> str:
    return (root / "etc/systemd/system" / name).read_text()


def written(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "etc").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("server", "--https-listen-port", "99999"),
            "cannot use --https-listen-port 99999: must be a port number",
        ),
        (
            ("server", "--node-name", "A_B"),
            "cannot use --node-name A_B: must consist of lower case",
        ),
        (("agent",), "cannot join: give a server with --join https://SERVER:6443"),
        (("agent", "--join", "https://a"), TOKEN_NEEDED),
        (("agent", "--join", "http://a", "--token", "x"), "cannot use --join http://a"),
        (("agent", "--join", "https://a", "--token", "x"), "cannot read the join token"),
    ],
)
def test_what_a_service_would_refuse_is_refused_before_anything_is_written(
    machine: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = invoke("install", *arguments, "--data-dir", str(tmp_path / "data"))
    assert (result.exit_code, result.output.startswith(f"kubelite: {reason}")) == (1, True), (
        result.output
    )
    assert written(machine) == []
    assert not (machine / "calls").exists()


def test_only_root_installs(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in (("install", "server"), ("uninstall", "--yes")):
        assert (
            invoke(*arguments).output
            == "kubelite: cannot install or uninstall: needs root; try sudo\n"
        )


def test_flags_and_variables_of_the_shell_are_kept_by_an_upgrade(
    machine: Path, tmp_path: Path
) -> None:
    data = f"--data-dir={tmp_path / 'data'}"
    first = invoke(
        "install", "server", data, "--disable-agent", KUBELITE_TLS_SAN="a", HTTPS_PROXY="http://p"
    )
    assert first.exit_code == 0, first.output
    assert "--disable-agent" in unit(machine)
    environment = unit(machine, "kubelite.service.env")
    assert environment == 'HTTPS_PROXY="http://p"\nKUBELITE_TLS_SAN="a"\n'
    before = unit(machine)
    upgrade = invoke("install", "server")
    assert "keeping the flags and variables" in upgrade.output
    assert (unit(machine), unit(machine, "kubelite.service.env")) == (before, environment)
    changed = invoke("install", "server", data)
    assert changed.exit_code == 0, changed.output
    assert "--disable-agent" not in unit(machine)
    assert unit(machine, "kubelite.service.env") == ""


def test_flags_that_a_new_program_no_longer_knows_are_refused(machine: Path) -> None:
    assert invoke("install", "server", "--disable-agent").exit_code == 0
    path = machine / "etc/systemd/system/kubelite.service"
    path.write_text(path.read_text().replace("--disable-agent", "--former-flag=1"))
    result = invoke("install", "server")
    assert (result.exit_code, "No such option" in result.output) == (1, True), result.output


def test_it_says_what_to_do_next(machine: Path) -> None:
    result = invoke("install", "server", "--disable-agent", "--no-start", "--write-kubeconfig=/k")
    assert "systemctl start kubelite" in result.output
    assert "export KUBECONFIG=/k" in result.output
    assert "kubelite install agent --join https://SERVER:6443" in result.output
    assert "systemctl restart" not in (machine / "calls").read_text()


def test_a_machine_whose_service_manager_does_not_run_needs_no_start(machine: Path) -> None:
    (machine / "run/systemd/system").rmdir()
    refused = invoke("install", "server", "--disable-agent")
    assert "systemd does not run here; see --no-start" in refused.output
    assert written(machine) == []
    assert invoke("install", "server", "--disable-agent", "--no-start").exit_code == 0


def test_uninstalling_asks_and_may_be_repeated(machine: Path, tmp_path: Path) -> None:
    data = f"--data-dir={tmp_path / 'data'}"
    assert invoke("install", "server", "--disable-agent", data).exit_code == 0
    asked = invoke("uninstall")
    assert "Remove all of this?" in asked.output
    assert written(machine) == ["kubelite.service", "kubelite.service.env"]
    done = invoke("uninstall", "--yes")
    assert done.exit_code == 0, done.output
    assert "left the program, /opt/kubelite/bin/kubelite" in done.output
    assert written(machine) == []
    again = invoke("uninstall", "--yes", data)
    assert (again.exit_code, again.output) == (0, "there is nothing to uninstall\n")


def test_uninstalling_removes_the_data_of_the_service(machine: Path, tmp_path: Path) -> None:
    from kubelite.store.lmdb_engine import LMDBEngine

    data = tmp_path / "data"
    LMDBEngine(data / "db").close()
    flags = (f"--data-dir={data}", f"--write-kubeconfig={tmp_path / 'k.yaml'}")
    assert invoke("install", "server", "--disable-agent", *flags).exit_code == 0
    kept = invoke("uninstall", "--yes", "--keep-data")
    assert (kept.exit_code, data.exists(), written(machine)) == (0, True, []), kept.output
    assert invoke("install", "server", "--disable-agent", *flags).exit_code == 0
    asked = invoke("uninstall")
    assert str(data / "db") in asked.output
    done = invoke("uninstall", "--yes")
    assert (done.exit_code, data.exists(), written(machine)) == (0, False, []), done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_program_of_that_shell(shell: str, tmp_path: Path) -> None:
    result = invoke("completion", shell)
    assert (result.exit_code, "_KUBELITE_COMPLETE" in result.output) == (0, True)
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(result.output)
        subprocess.run([shell, "-n", script], check=True)


def test_snapshots_are_completed(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    names = ["kubelite-20260102-030405-7.mdb", "scheduled-a-20260102-040506-9.sealed"]
    for name in (*names, "other.txt"):
        (folder / name).touch()
    words = f"kubelite snapshot restore --data-dir {tmp_path} "
    variables = {"_KUBELITE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    result = CliRunner().invoke(main, prog_name="kubelite", env=variables)
    assert result.output.split() == [f"plain,{name}" for name in names]
