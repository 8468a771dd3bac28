"""Patterns of custom resources: untrusted regular expressions in Go's syntax, matched in time linear in the text.

The syntax is read by `go_regexp`, so that what is accepted, and what is said of the rest, is the same everywhere.
Texts are matched by google-re2, and by `automaton` where there is no such library.
"""

from __future__ import annotations

from collections.abc import Callable

from kubelite.api.machinery.shaping.automaton import Automaton, TooLarge, Unsupported
from kubelite.api.machinery.shaping.go_regexp import Invalid, asks_inside, parse
from kubelite.limits import PATTERN, PATTERN_PROGRAM
from kubelite.remembered import remembered

Matcher = Callable[[str], bool]
_LENGTH_REMEMBERED = 4096  # characters of a pattern


def find_problem(pattern: str) -> str:
    """Return why a pattern cannot be used, worded as Go does where it is no regular expression; "" if it can be."""
    try:
        _compiled(pattern)
    except ValueError as error:
        return str(error)
    return ""


class Pattern:
    """A pattern, compiled when the first text is matched.

    One that cannot be compiled matches nothing; `find_problem` refuses it before, when the definition is written.
    """

    __slots__ = ("_matcher", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._matcher: Matcher | None = None  # of a text that is too long to be remembered by

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in a text."""
        if self._matcher is not None:
            return self._matcher(text)
        try:
            matcher = _compiled(self._text)
        except ValueError:
            return False
        if len(self._text) > _LENGTH_REMEMBERED:
            self._matcher = matcher
        return matcher(text)


@remembered(256, length_max=_LENGTH_REMEMBERED)
def _compiled(pattern: str) -> Matcher:
    r"""Return the matcher of a pattern; raises ValueError.

    What the library does not take, but Go does, is left to the automaton: some names of Unicode groups, and repeated
    groups, which the library expands to bytes. So is ``\B``, which the library finds inside a character of two bytes.
    """
    tree = parse(pattern)
    refused: Exception | None = None
    if not asks_inside(tree):
        try:
            return _by_library(pattern)
        except ImportError:
            pass
        except ValueError as error:
            refused = error
    try:
        return Automaton(tree, size_max=PATTERN_PROGRAM.value).matches
    except TooLarge as error:
        PATTERN_PROGRAM.reached()
        raise Invalid("expression too large", pattern) from error
    except Unsupported as error:
        if refused is not None:
            raise refused from error
        raise ValueError(f"cannot match `{pattern}` without google-re2: {error}") from error


def _by_library(pattern: str) -> Matcher:
    """Return google-re2's matcher; raises ImportError, or ValueError if it does not take the pattern."""
    import re2

    options = re2.Options()
    options.max_mem = PATTERN.value
    options.never_capture = True  # groups cost a slower search, and nobody asks for them
    options.log_errors = False
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        text = error.args[0] if error.args else ""
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        problem, _, part = text.partition(": ")
        raise Invalid(problem, part or pattern) from error
    return lambda value: search(value.encode(errors="replace")) is not None
