"""Untrusted regular expressions in Go's syntax, matched in time linear in the text.

The syntax is read by `syntax`, so that what is accepted, and what is said of the rest, is the same everywhere.
Texts are matched by google-re2, and by `automaton` where there is no such library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from kubelite.limits import PATTERN, PATTERN_PROGRAM, PATTERN_SEARCH
from kubelite.regexp.automaton import Automaton, TooLarge, Unsupported
from kubelite.regexp.finder import Finder
from kubelite.regexp.syntax import Invalid, Node, is_costly_in_bytes, parse
from kubelite.remembered import remembered

_OWN_STEP = 64  # a character costs Python as much as the library so many
_LENGTH_REMEMBERED = 4096  # characters of a pattern


class SearchTooLong(ValueError):
    """Finding all matches would take too long, since the text would be walked through again and again."""


class Matcher(Protocol):
    """A compiled regular expression."""

    def matches(self, text: str) -> bool:
        """Return whether it matches anywhere in a text."""
        ...

    def find(self, text: str, count: int = -1) -> list[str]:
        """Return the first `count` matches as Go finds them, all if it is negative; raises SearchTooLong."""
        ...


Engine = Callable[[str, Node], Matcher]


def find_problem(pattern: str) -> str:
    """Return why a pattern cannot be used, worded as Go does where it is no regular expression; "" if it can be."""
    try:
        compiled(pattern)
    except ValueError as error:
        return str(error)
    return ""


class Pattern:
    """A pattern, compiled when the first text is matched.

    One that cannot be compiled matches nothing; `find_problem` refuses it before, when the definition is written.
    """

    __slots__ = ("_matches", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        # Of a text that is too long to be remembered by.
        self._matches: Callable[[str], bool] | None = None

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in a text."""
        if self._matches is not None:
            return self._matches(text)
        try:
            matches = compiled(self._text).matches
        except ValueError:
            return False
        if len(self._text) > _LENGTH_REMEMBERED:
            self._matches = matches
        return matches(text)


@remembered(256, length_max=_LENGTH_REMEMBERED)
def compiled(pattern: str) -> Matcher:
    """Return the matcher of a pattern; raises ValueError, with the library's problem if it has one.

    What one engine does not take is left to the other. Of what is no regular expression the problem is told in Go's
    words.
    """
    tree = parse(pattern)
    engines = (
        (_by_automaton, _by_library) if is_costly_in_bytes(tree) else (_by_library, _by_automaton)
    )
    problems: dict[Engine, ValueError] = {}
    for engine in engines:
        try:
            return engine(pattern, tree)
        except ImportError:
            continue
        except ValueError as error:
            problems[engine] = error
    raise problems.get(_by_library) or problems[_by_automaton]


def _by_automaton(pattern: str, tree: Node) -> Matcher:
    try:
        return OwnMatcher(tree)
    except TooLarge as error:
        PATTERN_PROGRAM.reached()
        raise Invalid("expression too large", pattern) from error
    except Unsupported as error:
        raise ValueError(f"cannot match `{pattern}` without google-re2: {error}") from error


def _by_library(pattern: str, _tree: Node) -> Matcher:
    """Return google-re2's matcher; raises ImportError, or ValueError if it does not take the pattern."""
    import re2

    options = re2.Options()
    options.max_mem = PATTERN.value
    options.never_capture = True  # groups cost a slower search, and nobody asks for them
    options.log_errors = False
    try:
        return LibraryMatcher(re2.compile(pattern, options))
    except re2.error as error:
        text = error.args[0] if error.args else ""
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        if "too large" in text:
            PATTERN.reached()
            raise Invalid("expression too large", pattern) from error
        problem, _, part = text.partition(": ")
        raise Invalid(problem, part or pattern) from error


class OwnMatcher:
    """Matches by an automaton of our own; raises TooLarge or Unsupported."""

    def __init__(self, tree: Node) -> None:
        self._tree = tree
        self.matches = Automaton(tree, size_max=PATTERN_PROGRAM.value).matches
        self._finder: Finder | None = None

    def find(self, text: str, count: int = -1) -> list[str]:
        """Return the first `count` matches, all if it is negative; raises SearchTooLong."""
        if self._finder is None:
            self._finder = Finder(self._tree, size_max=2 * PATTERN_PROGRAM.value)
        finder = self._finder
        finder.work = 0

        def find(start: int) -> tuple[int, int] | None:
            _check_work(finder.work * _OWN_STEP)
            return finder.find(text, start)

        return [text[slice(*span)] for span in _spans(find, len(text), count)]


class LibraryMatcher:
    """Matches by google-re2."""

    def __init__(self, pattern: Any) -> None:
        search = pattern.search
        self._walk = pattern.finditer
        self.matches: Callable[[str], bool] = lambda text: (
            search(text.encode(errors="replace")) is not None
        )

    def find(self, text: str, count: int = -1) -> list[str]:
        """Return the first `count` matches, all if it is negative; raises SearchTooLong."""
        if count == 0:
            return []
        data = text.encode(errors="replace")
        found: list[str] = []
        work, last_end = 0, -1
        for match in self._walk(data):
            begin, end = match.span()
            if begin != end or (begin != last_end and _is_border(data, begin)):
                found.append(data[begin:end].decode())
                if len(found) == count:
                    break
            last_end = max(last_end, end)
            # The library may look at all that follows before it settles for a short match.
            work += len(data) - end
            _check_work(work)
        return found


def _is_border(data: bytes, at: int) -> bool:
    """Return whether a character of UTF-8 begins or ends at a position."""
    return at == len(data) or data[at] & 0xC0 != 0x80


def _spans(
    find: Callable[[int], tuple[int, int] | None], end: int, count: int
) -> Iterator[tuple[int, int]]:
    """Yield the matches that do not overlap; an empty one right after another match does not count, as in Go."""
    at, last_end, found = 0, -1, 0
    while at <= end and found != count:
        span = find(at)
        if span is None:
            return
        is_empty = span[1] == at
        is_counted = not (is_empty and span[0] == last_end)
        at = at + 1 if is_empty else span[1]
        last_end = span[1]
        if is_counted:
            found += 1
            yield span


def _check_work(work: int) -> None:
    if work > PATTERN_SEARCH.value:
        PATTERN_SEARCH.reached()
        raise SearchTooLong("finding all matches takes too long")
