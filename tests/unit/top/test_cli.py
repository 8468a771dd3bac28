from click.testing import CliRunner

from kubelite.cli import main


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
