"""Finds where a regular expression matches, without any library: leftmost, then as its alternatives prefer.

A pass forward over the text keeps the ways to match in order of preference; it ends where the preferred match ends. A
pass backward from there finds where the longest match with this end begins, which is where the leftmost one begins.
Both remember their steps, as `automaton` does, so that the work is linear in the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubelite.regexp.automaton import (
    STEPS_REMEMBERED,
    Assert,
    Eat,
    Fork,
    Program,
    States,
    border_kind,
    holds,
)
from kubelite.regexp.syntax import Choice, Node, Repeat, Sequence

Threads = tuple[int, ...]  # instructions in order of preference


class Finder:
    """A compiled regular expression that says where it matches."""

    def __init__(self, tree: Node, *, size_max: int) -> None:
        """`size_max`: how many instructions it may have in each direction; raises TooLarge or Unsupported."""
        self._forward = Program(tree, size_max=size_max)
        self._backward = Program(_reversed(tree), size_max=size_max)
        self._steps: dict[tuple[Threads, bool, str, str], tuple[bool, Threads]] = {}
        self._steps_back: dict[tuple[States, str, str], tuple[bool, States]] = {}
        self.work = 0  # characters walked over so far

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """Return begin and end of the first match at or after `start`; None if there is none."""
        end = self._end(text, start)
        return None if end is None else (self._begin(text, start, end), end)

    def _end(self, text: str, start: int) -> int | None:
        threads: Threads = ()
        end = None
        for at in range(start, len(text) + 1):
            self.work += 1
            key = threads, end is None, border_kind(text[at - 1 : at]), text[at : at + 1]
            known = self._steps.get(key)
            if known is None:
                if len(self._steps) >= STEPS_REMEMBERED:
                    self._steps.clear()
                known = self._steps[key] = self._step(*key[:2], text[at - 1 : at], key[3])
            matched, threads = known
            if matched:
                end = at
            if end is not None and not threads:
                break
        return end

    def _step(
        self, threads: Threads, is_searching: bool, before: str, letter: str
    ) -> tuple[bool, Threads]:
        """Return whether a preferred match ends here, and the threads after the next character."""
        begins = (*threads, self._forward.start) if is_searching else threads
        onward: list[int] = []
        for step in _closure(self._forward, begins, before, letter):
            if step is None:  # threads after this one are less preferred, so they end here
                return True, tuple(dict.fromkeys(onward))
            if letter and letter in step.characters:
                onward.append(step.onward)
        return False, tuple(dict.fromkeys(onward))

    def _begin(self, text: str, start: int, end: int) -> int:
        states: States = frozenset([self._backward.start])
        begin = end
        for at in range(end, start - 1, -1):
            self.work += 1
            before, after = text[at - 1 : at] if at else "", text[at : at + 1]
            key = states, before, border_kind(after)
            known = self._steps_back.get(key)
            if known is None:
                if len(self._steps_back) >= STEPS_REMEMBERED:
                    self._steps_back.clear()
                known = self._steps_back[key] = self._step_back(states, before, after)
            matched, states = known
            if matched:
                begin = at
            if not states:
                break
        return begin

    def _step_back(self, states: States, before: str, after: str) -> tuple[bool, States]:
        matched = False
        onward: set[int] = set()
        for step in _closure(self._backward, sorted(states), before, after):
            if step is None:
                matched = True
            elif before and before in step.characters:
                onward.add(step.onward)
        return matched, frozenset(onward)


def _closure(
    program: Program, begins: Iterable[int], before: str, after: str
) -> Iterable[Eat | None]:
    """Yield what is reached without a character, in order of preference; None: it matches."""
    reached: set[int] = set()
    for begin in begins:
        pending = [begin]
        while pending:
            at = pending.pop()
            if at in reached:
                continue
            reached.add(at)
            step = program.steps[at]
            if isinstance(step, Fork):
                pending.extend(reversed(step.onward))
            elif isinstance(step, Assert):
                if holds(step.kind, before, after):
                    pending.append(step.onward)
            else:
                yield step


def _reversed(node: Node) -> Node:
    match node:
        case Sequence(parts):
            return Sequence(tuple(_reversed(part) for part in reversed(parts)))
        case Choice(parts):
            return Choice(tuple(map(_reversed, parts)))
        case Repeat(part, low, high, greedy):
            return Repeat(_reversed(part), low, high, greedy)
        case _:
            return node
