"""Checks the patterns of one CustomResourceDefinition, each once, within what all of them together may cost."""

from kubelite.api.machinery.causes import cut
from kubelite.limits import DEFINITION_PATTERNS, PATTERN_PROGRAM
from kubelite.regexp.patterns import find_problem
from kubelite.regexp.syntax import (
    Choice,
    Node,
    Repeat,
    Sequence,
    parse,
)

CHARACTER_COST = (
    10  # reading a character of a pattern takes as long as compiling so many instructions
)
TOO_MANY = "the patterns of one definition are too large together"


class SchemaPatterns:
    """The patterns of one definition."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._left = DEFINITION_PATTERNS.value

    def find_problem(self, pattern: str) -> str:
        """Return why a pattern cannot be used, worded as Go does where it is no regular expression; "" if it can be."""
        known = self._known.get(pattern)
        if known is None:
            known = self._known[pattern] = self._checked(pattern)
        return known

    def _checked(self, pattern: str) -> str:
        if not self._charge(CHARACTER_COST * len(pattern)):
            return TOO_MANY
        try:
            instructions = size(parse(pattern))
            if not self._charge(min(instructions, PATTERN_PROGRAM.value)):
                return TOO_MANY
            return cut(find_problem(pattern))
        except ValueError as error:
            return cut(str(error))
        except RecursionError:
            return f"error parsing regexp: expression nests too deeply: `{cut(pattern)}`"

    def _charge(self, cost: int) -> bool:
        if cost > self._left:
            DEFINITION_PATTERNS.reached()
            return False
        self._left -= cost
        return True


def size(node: Node) -> int:
    """Return about how many instructions a regular expression has, its repeated parts written out."""
    match node:
        case Sequence(parts):
            return sum(map(size, parts))
        case Choice(parts):
            return sum(map(size, parts)) + len(parts)
        case Repeat(part, low, high):
            return (low + 1 if high is None else high) * size(part) + 1
        case _:
            return 1
