"""The pages of the documentation by task, run line by line on two hosts as a reader would."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct
from testbed.bed import Bed
from testbed.machine import Machine
from testbed.topology import one_link

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

ROOT = Path(__file__).parents[2]
PAGES = (
    "start",
    "join",
    "expose",
    "store",
    "secure",
)  # each goes on where the one before has ended
PROMPT = re.compile(r"    (server|worker)\$ (.*)")
TOKEN = "K10…::…"
COMMAND_SECONDS = 120.0


class Step(Struct, frozen=True):
    """One command of a page, with what is typed after it."""

    host: str
    text: str


def steps_of(page: str) -> list[Step]:
    """Return the commands of a page: lines with a prompt, each with the lines of its block up to the next."""
    found: list[Step] = []
    is_open = False
    for line in page.splitlines():
        if match := PROMPT.fullmatch(line):
            found.append(Step(match[1], match[2]))
            is_open = True
        elif is_open and line.startswith("    "):
            found[-1] = Step(found[-1].host, f"{found[-1].text}\n{line[4:]}")
        else:
            is_open = False
    return found


class Reader:
    """Types commands at the hosts' prompts."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._exported: dict[str, list[str]] = {}
        self._token = ""
        for machine in bed:
            program = machine.folder / "home" / "kubelite"
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kubelite "$@"\n')
            program.chmod(0o755)

    def type(self, step: Step) -> None:
        """Run one command. Raises AssertionError if it fails."""
        machine = self._bed[step.host]
        text = step.text.replace("SERVER", self._bed["server"].address).replace(TOKEN, self._token)
        if text.startswith("export "):
            self._exported.setdefault(step.host, []).append(text)
        elif re.search(r"\bkubelite (server|agent)\b", text):
            self._start(machine, text)
        else:
            said = self._run(machine, text)
            if text.startswith("kubelite token create"):
                self._token = said.strip()

    def _start(self, machine: Machine, text: str) -> None:
        """Start kubelite, which runs on in a terminal of its own."""
        words = shlex.split(text, comments=True)
        before = words[: words.index("kubelite")]
        token = [f"--token={word.partition('=')[2]}" for word in before]
        machine.kubelite.start(*words[words.index("kubelite") + 1 :], *token)

    def _run(self, machine: Machine, text: str) -> str:
        home = machine.folder / "home"
        before = [
            f"cd {home} && ln -sfn {ROOT}/examples examples",
            f"export PATH={home}:$PATH",
            *self._exported.get(machine.name, []),
        ]
        return machine.run(
            "bash", "-c", "\n".join([*before, text]), timeout_seconds=COMMAND_SECONDS
        )


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Bed(one_link("server", "worker")) as bed:
        yield Reader(bed)
        no_traceback(bed)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_does_what_it_says(reader: Reader, name: str) -> None:
    steps = steps_of((ROOT / "docs" / f"{name}.md").read_text())
    assert len(steps) > 3
    for step in steps:
        reader.type(step)
