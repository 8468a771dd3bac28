"""docs/install.md: each command in it exists, with the options that it is given there."""

import shlex
from pathlib import Path

import click
import pytest

from kubelite.cli import main

TEXT = (Path(__file__).parents[3] / "docs" / "install.md").read_text()
COMMANDS = [
    line.strip().partition(">")[0]
    for line in TEXT.splitlines()
    if line.startswith("    ") and line.strip().startswith("kubelite ")
]


def test_the_document_has_the_commands() -> None:
    assert {shlex.split(line)[1] for line in COMMANDS} >= {"install", "uninstall", "token"}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    with command.make_context("kubelite", words) as context:
        assert context.params
