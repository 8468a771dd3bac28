"""Matches regular expressions without any library, in steps linear in the text: a simulated finite automaton.

It serves where google-re2 has no wheel. The steps from a set of states are remembered, so that a usual pattern costs
one look-up a character; the memory and the size of a program are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from kubelite.api.machinery.shaping.characters import PERL, Characters
from kubelite.api.machinery.shaping.go_regexp import Choice, Node, One, Place, Repeat, Sequence

STEPS_REMEMBERED: Final = 4096
_NESTED_MAX: Final = 200
_WORD = PERL["w"]
_START, _END = "", ""  # what stands before the first and after the last character

States = frozenset[int]


class TooLarge(ValueError):
    """The program of a regular expression is too large."""


class Unsupported(ValueError):
    """The regular expression needs tables that Python does not have."""


class _Eat(NamedTuple):
    """Goes on after a character of the set."""

    characters: Characters
    onward: int


class _Fork(NamedTuple):
    """Goes on at several places."""

    onward: tuple[int, ...]


class _Assert(NamedTuple):
    """Goes on if the position is of the kind."""

    kind: str
    onward: int


class Automaton:
    """A compiled regular expression."""

    def __init__(self, tree: Node, *, size_max: int) -> None:
        """`size_max`: how many instructions it may have; raises TooLarge or Unsupported."""
        self._size_max = size_max
        self._program: list[_Eat | _Fork | _Assert | None] = [None]  # 0: it matches
        self._start = self._compile(tree, 0, 0)
        self._steps: dict[tuple[States, str, str], States | None] = {}

    def _emit(self, step: _Eat | _Fork | _Assert | None) -> int:
        if len(self._program) >= self._size_max:
            raise TooLarge("expression too large")
        self._program.append(step)
        return len(self._program) - 1

    def _compile(self, node: Node, onward: int, depth: int) -> int:
        """Add the instructions of a node and return the first; `onward` is what follows."""
        if depth > _NESTED_MAX:
            raise TooLarge("expression nests too deeply")
        match node:
            case One(characters):
                if characters.scripts:
                    raise Unsupported(f"no table of {', '.join(sorted(characters.scripts))}")
                return self._emit(_Eat(characters, onward))
            case Place(kind):
                return self._emit(_Assert(kind, onward))
            case Sequence(parts):
                for part in reversed(parts):
                    onward = self._compile(part, onward, depth + 1)
                return onward
            case Choice(parts):
                forks = tuple(self._compile(part, onward, depth + 1) for part in parts)
                return self._emit(_Fork(forks))
            case Repeat(part, low, high):
                return self._repeat(part, low, high, onward, depth + 1)

    def _repeat(self, part: Node, low: int, high: int | None, onward: int, depth: int) -> int:
        if high is None:
            loop = self._emit(None)
            self._program[loop] = _Fork((self._compile(part, loop, depth), onward))
            onward = loop
        else:
            end = onward
            for _ in range(high - low):
                onward = self._emit(_Fork((self._compile(part, onward, depth), end)))
        for _ in range(low):
            onward = self._compile(part, onward, depth)
        return onward

    def matches(self, text: str) -> bool:
        """Return whether the expression matches anywhere in a text."""
        states: States = frozenset()
        before = _START
        for letter in text:
            onward = self._step(states, before, letter)
            if onward is None:
                return True
            states, before = onward, letter
        return self._step(states, before, _END) is None

    def _step(self, states: States, before: str, letter: str) -> States | None:
        """Return the states after a character; None if the expression has matched before it."""
        key = states, _kind(before), letter
        if key in self._steps:
            return self._steps[key]
        if len(self._steps) >= STEPS_REMEMBERED:
            self._steps.clear()
        onward = self._steps[key] = self._computed(states, before, letter)
        return onward

    def _computed(self, states: States, before: str, letter: str) -> States | None:
        onward: set[int] = set()
        for at in self._closure((*states, self._start), before, letter):
            step = self._program[at]
            if step is None:
                return None
            if isinstance(step, _Eat) and letter and letter in step.characters:
                onward.add(step.onward)
        return frozenset(onward)

    def _closure(self, states: Iterable[int], before: str, after: str) -> set[int]:
        """Return all states that are reached without a character."""
        reached: set[int] = set()
        pending = list(states)
        while pending:
            at = pending.pop()
            if at in reached:
                continue
            reached.add(at)
            step = self._program[at]
            if isinstance(step, _Fork):
                pending.extend(step.onward)
            elif isinstance(step, _Assert) and _holds(step.kind, before, after):
                pending.append(step.onward)
        return reached


def _kind(letter: str) -> str:
    """Return what an assertion may ask about the character before."""
    if letter in ("", "\n"):
        return letter
    return "w" if letter in _WORD else " "


def _holds(kind: str, before: str, after: str) -> bool:
    match kind:
        case "begin":
            return not before
        case "end":
            return not after
        case "line begin":
            return before in ("", "\n")
        case "line end":
            return after in ("", "\n")
        case _:
            at_border = (bool(before) and before in _WORD) != (bool(after) and after in _WORD)
            return at_border == (kind == "word")
