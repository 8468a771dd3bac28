import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kubelite.cli import main
from kubelite.store.lmdb_engine import LMDBEngine


def test_version() -> None:
    result = CliRunner().invoke(main, ["version"])
    assert result.exit_code == 0
    assert result.output.startswith("kubelite ")


def test_a_wrong_setting_is_one_line_and_exit_1() -> None:
    result = CliRunner().invoke(main, ["server", "--https-listen-port", "99999"])
    assert result.exit_code == 1
    assert (
        result.output == "kubelite: cannot use --https-listen-port 99999: must be a port number\n"
    )


def test_every_setting_has_help() -> None:
    result = CliRunner().invoke(main, ["server", "--help"])
    assert "--service-node-port-range FIRST-LAST" in result.output
    assert "--disable-agent" in result.output


def test_snapshot_check_and_restore(tmp_path: Path) -> None:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, f"--data-dir={tmp_path}"])

    missing = invoke("snapshot", "save")
    assert (missing.exit_code, missing.output) == (
        1,
        f"kubelite: cannot save a snapshot: no store in {tmp_path}/db; see --data-dir\n",
    )
    LMDBEngine(tmp_path / "db").close()
    saved = invoke("snapshot", "save")
    assert saved.exit_code == 0
    name = Path(saved.output.strip()).name
    assert name in invoke("snapshot", "list").output
    assert invoke("check").output == "0 objects, 0 changes kept, revision 0, 0 problems\n"
    restored = invoke("snapshot", "restore", name)
    assert (restored.exit_code, "the former state is" in restored.output) == (0, True)
    assert "no such snapshot" in invoke("snapshot", "restore", "none").output


def test_programs_get_events_and_a_result(tmp_path: Path) -> None:
    def events(*arguments: str) -> list[Any]:
        result = CliRunner().invoke(main, [*arguments, "--json", f"--data-dir={tmp_path}"])
        return [json.loads(line) for line in result.stdout.splitlines()]

    [failed] = events("check")
    assert failed == {
        "event": "error",
        "message": f"cannot check {tmp_path}/db: no store there; see --data-dir",
    }
    LMDBEngine(tmp_path / "db").close()
    *steps, saved = events("snapshot", "save")
    assert [(one["event"], one["step"]) for one in steps] == [
        ("started", "copy the store"),
        ("finished", "copy the store"),
    ]
    assert (saved["event"], Path(saved["path"]).stat().st_size) == ("result", saved["size_bytes"])
    [[listed]] = events("snapshot", "list")
    assert listed["name"] == Path(saved["path"]).name
    assert events("check")[-1]["problems"] == []
    assert events("snapshot", "restore", listed["name"])[-1]["restored"] == saved["path"]


def test_a_program_is_not_asked(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["reset", "--json", f"--data-dir={tmp_path}"])
    assert (result.exit_code, "--yes" in result.output) == (1, True)


def test_help_tells_defaults() -> None:
    lines = " ".join(CliRunner().invoke(main, ["server", "--help"]).output.split())
    assert "Port of the API server [default: 6443]" in lines
    assert (
        "Range of pod addresses, or one of each family with a comma [default: 10.42.0.0/16]"
        in lines
    )
    assert "Days that rotated audit logs are kept [default: 30]" in lines


def test_values_of_every_type_are_one_line() -> None:
    for flag, value in (("--https-listen-port", "many"), ("--audit-log-maxage", "1.5")):
        result = CliRunner().invoke(main, ["server", flag, value])
        assert result.exit_code == 1
        assert result.output == f"kubelite: cannot use {flag} {value}: must be a whole number\n"


@pytest.mark.parametrize("command", ["server", "agent"])
def test_a_configuration_file_that_is_named_must_be_there(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, "--config", str(tmp_path / "none.yaml")])
    assert result.exit_code == 1
    assert f"cannot read --config {tmp_path}/none.yaml: there is no such file" in result.output


@pytest.mark.parametrize("command", ["server", "agent"])
def test_a_configuration_file_that_is_named_is_read(command: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("colour: red\n")
    result = CliRunner().invoke(main, [command, "-c", str(file)])
    assert f'cannot use {file}: unknown key "colour"' in result.output
