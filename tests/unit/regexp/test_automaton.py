"""The automaton's bounds; what it matches is in test_go_regexp and, at random, in tests/property."""

import pytest

from kubelite.regexp import automaton
from kubelite.regexp.automaton import Automaton, TooLarge, Unsupported
from kubelite.regexp.syntax import parse


@pytest.mark.parametrize(
    "pattern", ["a{1000}b{1000}", "(a|b|c){500}", "(" * 300 + "a" + ")?" * 300]
)
def test_a_large_program_is_refused(pattern: str) -> None:
    with pytest.raises(TooLarge):
        Automaton(parse(pattern), size_max=1000)


def test_a_script_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="Greek"):
        Automaton(parse(r"^[\p{Greek}0-9]+$"), size_max=1000)


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "(x+x+)+y", "^(a|aa)+$", "(a*)*b", "(.*)(.*)(.*)=z"]
)
def test_the_work_is_linear_in_the_text(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    computed = Automaton._computed

    def counted(self: Automaton, *args: object) -> object:
        nonlocal steps
        steps += 1
        return computed(self, *args)  # type: ignore[arg-type] # passed through

    monkeypatch.setattr(Automaton, "_computed", counted)
    machine = Automaton(parse(pattern), size_max=1000)
    assert not machine.matches("a" * 5_000 + "!")
    assert steps < 50, "the steps from a set of states are remembered"


def test_the_memory_of_steps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "STEPS_REMEMBERED", 16)
    machine = Automaton(parse("^[^!]{3,}$"), size_max=1000)
    assert machine.matches("".join(chr(0x100 + n) for n in range(500)))
    assert len(machine._steps) <= 16
