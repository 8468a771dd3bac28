"""Each command of kubelite that the documentation names exists, with the flags that it is shown with."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kubelite.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"]
CODE = re.compile(r"`([^`]+)`")
CALL = re.compile(r"(?:^|[\s(|;&=])kubelite((?:\s+[^\s`]+)+)")
FLAG = re.compile(r"--[a-z][a-z0-9-]+")
WORD = re.compile(r"[a-z][a-z-]*")


def calls(text: str) -> Iterator[str]:
    """Yield what follows the word kubelite in inline code and in indented lines of code."""
    indented = [line for line in text.splitlines() if line.startswith("    ")]
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    inline = [" ".join(one.split()) for part in prose.split("\n\n") for one in CODE.findall(part)]
    for code in (*indented, *inline):
        command = code.partition("  #")[0]
        for match in CALL.finditer(command):
            yield re.split(r"[|;&>]", match[1])[0].strip()


def problem(call: str) -> str:
    """Return what of a call does not exist; "" if all does, or it is no call."""
    words = call.split()
    command: click.Command = main
    flags: set[str] = set()
    for index, word in enumerate(words):
        if not isinstance(command, click.Group):
            break
        found = command.commands.get(word)
        if found is None:
            if index == 0 and not WORD.fullmatch(word):
                return ""
            if word.startswith("-"):
                break
            is_whole = command.invoke_without_command
            return "" if is_whole and not WORD.fullmatch(word) else f"no command {word}"
        command = found
    if command.context_settings.get("ignore_unknown_options"):
        return ""
    for parameter in command.params:
        flags.update(parameter.opts)
    unknown = [flag for flag in FLAG.findall(call) if flag not in flags | {"--help"}]
    return f"no flag {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_is_named_exists(page: Path) -> None:
    found = {call: problem(call) for call in calls(page.read_text())}
    assert {call: why for call, why in found.items() if why} == {}


def test_the_search_finds_calls_and_what_is_wrong_with_them() -> None:
    text = "Use `kubelite\nsnapshot save --json` and\n\n    sudo kubelite frobnicate --now   # so\n"
    found = list(calls(text))
    assert found == ["frobnicate --now", "snapshot save --json"]
    assert [problem(call) for call in found] == ["no command frobnicate", ""]
    assert problem("snapshot save --jason") == "no flag --jason"
    assert problem("snapshot prance") == "no command prance"
    assert problem("kubectl get --anything") == ""
    assert problem("kubeconfig merge --name x --overwrite") == ""


def test_pages_have_calls() -> None:
    for name in ("troubleshoot.md", "coming-from.md", "operations.md"):
        assert len(set(calls((DOCS / name).read_text()))) > 5
