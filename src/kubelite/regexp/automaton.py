"""Matches regular expressions without any library, in steps linear in the text: a simulated finite automaton.

It serves where google-re2 has no wheel. The steps from a set of states are remembered, so that a usual pattern costs
one look-up a character; the memory and the size of a program are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from kubelite.regexp.characters import PERL, Characters
from kubelite.regexp.syntax import Choice, Node, One, Place, Repeat, Sequence

STEPS_REMEMBERED: Final = 4096
_NESTED_MAX: Final = 200
_WORD = PERL["w"]
_START, _END = "", ""  # what stands before the first and after the last character

States = frozenset[int]


class TooLarge(ValueError):
    """The program of a regular expression is too large."""


class Unsupported(ValueError):
    """The regular expression needs tables that Python does not have."""


class Eat(NamedTuple):
    """Goes on after a character of the set."""

    characters: Characters
    onward: int


class Fork(NamedTuple):
    """Goes on at several places."""

    onward: tuple[int, ...]


class Assert(NamedTuple):
    """Goes on if the position is of the kind."""

    kind: str
    onward: int


class Program:
    """The instructions of a regular expression; the first of a fork's ways is preferred."""

    def __init__(self, tree: Node, *, size_max: int) -> None:
        """`size_max`: how many instructions it may have; raises TooLarge or Unsupported."""
        self._size_max = size_max
        self.steps: list[Eat | Fork | Assert | None] = [None]  # 0: it matches
        self.start = self._compile(tree, 0, 0)

    def _emit(self, step: Eat | Fork | Assert | None) -> int:
        if len(self.steps) >= self._size_max:
            raise TooLarge("expression too large")
        self.steps.append(step)
        return len(self.steps) - 1

    def _compile(self, node: Node, onward: int, depth: int) -> int:
        """Add the instructions of a node and return the first; `onward` is what follows."""
        if depth > _NESTED_MAX:
            raise TooLarge("expression nests too deeply")
        match node:
            case One(characters):
                if characters.scripts:
                    raise Unsupported(f"no table of {', '.join(sorted(characters.scripts))}")
                return self._emit(Eat(characters, onward))
            case Place(kind):
                return self._emit(Assert(kind, onward))
            case Sequence(parts):
                for part in reversed(parts):
                    onward = self._compile(part, onward, depth + 1)
                return onward
            case Choice(parts):
                forks = tuple(self._compile(part, onward, depth + 1) for part in parts)
                return self._emit(Fork(forks))
            case Repeat():
                return self._repeat(node, onward, depth + 1)

    def _repeat(self, repeat: Repeat, onward: int, depth: int) -> int:
        part, low, high, greedy = repeat
        if high is None:
            # A part that can be empty is repeated as (x+)?, else its preference would be lost in the loop.
            optional = low == 0 and _can_be_empty(part)
            loop = self._emit(None)
            body = self._compile(part, loop, depth)
            self.steps[loop] = _fork(body, onward, greedy=greedy)
            if low == 0:
                return self._emit(_fork(body, onward, greedy=greedy)) if optional else loop
            onward, low = body, low - 1
        else:
            end = onward
            for _ in range(high - low):
                body = self._compile(part, onward, depth)
                onward = self._emit(_fork(body, end, greedy=greedy))
        for _ in range(low):
            onward = self._compile(part, onward, depth)
        return onward


def _fork(more: int, less: int, *, greedy: bool) -> Fork:
    return Fork((more, less) if greedy else (less, more))


def _can_be_empty(node: Node) -> bool:
    match node:
        case One():
            return False
        case Place():
            return True
        case Sequence(parts):
            return all(map(_can_be_empty, parts))
        case Choice(parts):
            return any(map(_can_be_empty, parts))
        case Repeat(part, low):
            return low == 0 or _can_be_empty(part)


class Automaton:
    """A compiled regular expression that says whether a text matches."""

    def __init__(self, tree: Node, *, size_max: int) -> None:
        """`size_max`: how many instructions it may have; raises TooLarge or Unsupported."""
        program = Program(tree, size_max=size_max)
        self._program = program.steps
        self._start = program.start
        self._steps: dict[tuple[States, str, str], States | None] = {}

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
        key = states, border_kind(before), letter
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
            if isinstance(step, Eat) and letter and letter in step.characters:
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
            if isinstance(step, Fork):
                pending.extend(step.onward)
            elif isinstance(step, Assert) and holds(step.kind, before, after):
                pending.append(step.onward)
        return reached


def border_kind(letter: str) -> str:
    """Return what an assertion may ask about the character before."""
    if letter in ("", "\n"):
        return letter
    return "w" if letter in _WORD else " "


def holds(kind: str, before: str, after: str) -> bool:
    """Return whether a position between two characters is of a kind; "" is before the first and after the last."""
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
