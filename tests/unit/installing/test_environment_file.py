"""Variables survive the environment file, for systemd's reader as for a shell."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.installing.environment_file import environment_text, is_taken_over, read_environment

VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40)
HARD = {
    "KUBELITE_A": "a b",
    "KUBELITE_B": 'x"y\\z`$HOME${X}%h',
    "KUBELITE_C": "",
    "no_proxy": "'#;é",
}


@given(st.dictionaries(st.from_regex(r"KUBELITE_[A-Z]{1,8}", fullmatch=True), VALUES, max_size=4))
def test_what_is_written_is_read(variables: dict[str, str]) -> None:
    assert read_environment(environment_text(variables)) == variables


def test_a_shell_reads_the_same() -> None:
    script = f"set -a\n{environment_text(HARD)}exec env -0"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    read = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: read[name] for name in HARD} == HARD


def test_other_lines_are_skipped() -> None:
    assert read_environment('# KUBELITE_A="x"\nPATH=/bin\nKUBELITE_B="y"\n') == {"KUBELITE_B": "y"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("KUBELITE_TOKEN", True),
        ("HTTPS_PROXY", True),
        ("no_proxy", True),
        ("PATH", False),
        ("MY_KUBELITE_TOKEN", False),
    ],
)
def test_which_variables_of_the_shell_are_the_services(name: str, expected: bool) -> None:
    assert is_taken_over(name) is expected
