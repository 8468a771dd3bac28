"""Reads regular expressions in Go's syntax (RE2 with Perl's classes) to a tree, or says what is wrong in Go's words."""

from __future__ import annotations

from typing import Final, NamedTuple

from kubelite.regexp.characters import PERL, POSIX, Characters, unicode_group

REPEAT_MAX: Final = 1000  # how often a part may be repeated, also by repeats within each other
DEPTH_MAX: Final = 1000


class Invalid(ValueError):
    """The text is no regular expression; the message is Go's."""

    def __init__(self, problem: str, part: str) -> None:
        super().__init__(f"error parsing regexp: {problem}: `{part}`")


class One(NamedTuple):
    """One character of a set."""

    characters: Characters


class Place(NamedTuple):
    """A position: begin, end (of the text), line begin, line end, word, no word."""

    kind: str


class Sequence(NamedTuple):
    """Parts one after the other."""

    parts: tuple[Node, ...]


class Choice(NamedTuple):
    """One of several parts."""

    parts: tuple[Node, ...]


class Repeat(NamedTuple):
    """A part between `low` and `high` times; None: without end. Greedy ones prefer more."""

    part: Node
    low: int
    high: int | None
    greedy: bool = True


Node = One | Place | Sequence | Choice | Repeat

_PLACES = {"A": "begin", "z": "end", "b": "word", "B": "no word"}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = frozenset("01234567")
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_ASCII_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_FLAGS = {"i": "fold", "m": "lines", "s": "dot_all", "U": "lazy"}
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class Flags(NamedTuple):
    """What (?imsU) set."""

    fold: bool = False
    lines: bool = False  # ^ and $ match at lines
    dot_all: bool = False
    lazy: bool = False  # x* prefers less and x*? more


class _Group:
    """An open parenthesis: finished choices, and the parts of the current one."""

    __slots__ = ("choices", "flags", "parts", "weight")

    def __init__(self, flags: Flags) -> None:
        self.flags = flags  # to be restored at the end
        self.choices: list[Node] = []
        self.parts: list[Node] = []
        self.weight = 1  # the greatest product of repeats within each other

    def close_choice(self) -> None:
        whole = self.parts[0] if len(self.parts) == 1 else Sequence(tuple(self.parts))
        self.choices.append(whole)
        self.parts = []

    def node(self) -> Node:
        self.close_choice()
        return self.choices[0] if len(self.choices) == 1 else Choice(tuple(self.choices))


class Parser:
    """One pass over a regular expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.flags = Flags()
        self.groups = [_Group(self.flags)]
        self._repeated_from: int | None = None  # where the repeat that ends here began
        self._weights: dict[int, int] = {}  # of the last part of a group: product of its repeats

    def parse(self) -> Node:
        """Return the tree; raises Invalid."""
        while self.at < len(self.text):
            before, start = self._repeated_from, self.at
            self._repeated_from = None
            self._step(self.text[self.at], start, before)
        if len(self.groups) > 1:
            raise Invalid("missing closing )", self.text)
        return self.groups[0].node()

    def _step(self, letter: str, start: int, repeated_from: int | None) -> None:
        match letter:
            case "(":
                self._open(start)
            case "|":
                self.groups[-1].close_choice()
                self.at += 1
            case ")":
                self._close()
            case "^":
                self._add(Place("line begin" if self.flags.lines else "begin"))
            case "$":
                self._add(Place("line end" if self.flags.lines else "end"))
            case ".":
                anything = Characters(((0, 0x10FFFF),))
                line = Characters(((10, 10),), negated=True)
                self._add(One(anything if self.flags.dot_all else line))
            case "[":
                self._class(start)
            case "*" | "+" | "?":
                self.at += 1
                self._repeat(*_QUANTIFIERS[letter], start, repeated_from)
            case "{":
                self._braces(start, repeated_from)
            case "\\":
                self._backslash(start)
            case _:
                self._add(self._literal(letter))

    def _add(self, node: Node, *, length: int = 1, weight: int = 1) -> None:
        self.at += length
        self.groups[-1].parts.append(node)
        self._weights[len(self.groups)] = weight
        self.groups[-1].weight = max(self.groups[-1].weight, weight)

    def _literal(self, letter: str) -> One:
        point = ord(letter)
        return One(Characters(((point, point),), fold=self.flags.fold))

    def _open(self, start: int) -> None:
        if self.text.startswith("(?", start):
            self._perl_group(start)
        else:
            self.at += 1
            self._begin_group(self.flags)

    def _perl_group(self, start: int) -> None:
        """Read (?P<name>, (?<name>, (?flags: or (?flags)."""
        text = self.text
        named = 3 if text.startswith("(?<", start) else 4 if text.startswith("(?P<", start) else 0
        if named and len(text) - start > named:
            end = text.find(">", start)
            if end < 0:
                raise Invalid("invalid named capture", text[start:])
            name = text[start + named : end]
            if not name or not _ASCII_NAME.issuperset(name):
                raise Invalid("invalid named capture", text[start : end + 1])
            self.at = end + 1
            self._begin_group(self.flags)
        else:
            self._flags(start)

    def _flags(self, start: int) -> None:
        flags, on, seen = self.flags._asdict(), True, False
        self.at = start + 2
        while self.at < len(self.text):
            letter = self.text[self.at]
            self.at += 1
            if letter in "imsU":
                seen = True
                flags[_FLAGS[letter]] = on
            elif letter == "-" and on:
                on = seen = False
            elif letter in ":)" and (on or seen):
                outer, self.flags = self.flags, Flags(**flags)
                if letter == ":":
                    self._begin_group(outer)
                return
            else:
                break
        raise Invalid("invalid or unsupported Perl syntax", self.text[start : self.at])

    def _begin_group(self, outer: Flags) -> None:
        if len(self.groups) > DEPTH_MAX:
            raise Invalid("expression nests too deeply", self.text)
        self.groups.append(_Group(outer))

    def _close(self) -> None:
        if len(self.groups) == 1:
            raise Invalid("unexpected )", self.text)
        group = self.groups.pop()
        self.flags = group.flags
        self._add(group.node(), weight=group.weight)

    def _repeat(self, low: int, high: int | None, start: int, repeated_from: int | None) -> None:
        is_marked = self.text.startswith("?", self.at)
        self.at += is_marked
        if repeated_from is not None:
            part = self.text[repeated_from : self.at]
            raise Invalid("invalid nested repetition operator", part)
        parts = self.groups[-1].parts
        if not parts:
            part = self.text[start : self.at]
            raise Invalid("missing argument to repetition operator", part)
        times = 1 if self.text[start] != "{" else low if high is None else high
        weight = self._weights[len(self.groups)] * max(times, 1)
        if weight > REPEAT_MAX and self.text[start] == "{" and times >= 2:
            raise Invalid("invalid repeat count", self.text[start : self.at])
        self._add(
            Repeat(parts.pop(), low, high, is_marked == self.flags.lazy), length=0, weight=weight
        )
        self._repeated_from = start

    def _braces(self, start: int, repeated_from: int | None) -> None:
        found = self._counts(start)
        if found is None:
            self._add(self._literal("{"))
            return
        low, high, self.at = found
        if low > REPEAT_MAX or (high is not None and (high > REPEAT_MAX or low > high)):
            raise Invalid("invalid repeat count", self.text[start : self.at])
        self._repeat(low, high, start, repeated_from)

    def _counts(self, start: int) -> tuple[int, int | None, int] | None:
        """Return the counts of {n}, {n,} or {n,m} and where it ends; None: the brace is a letter."""
        end = self.text.find("}", start, start + 64)
        low, comma, high = self.text[start + 1 : max(end, start)].partition(",")
        if end < 0 or not _is_count(low) or (high and not _is_count(high)):
            return None
        least = int(low)
        return least, (least if not comma else int(high) if high else None), end + 1

    def _backslash(self, start: int) -> None:
        following = self.text[start + 1 : start + 2]
        if following in _PLACES and following:
            self._add(Place(_PLACES[following]), length=2)
        elif following == "C":
            raise Invalid("invalid escape sequence", "\\C")
        elif following == "Q":
            self._quoted(start + 2)
        elif (characters := self._escaped_class(start)) is not None:
            self._add(One(characters), length=0)
        else:
            point = self._escape(start)
            self._add(self._literal(chr(point)), length=0)

    def _quoted(self, start: int) -> None:
        end = self.text.find("\\E", start)
        for letter in self.text[start : end if end >= 0 else None]:
            self._add(self._literal(letter), length=0)
        self.at = end + 2 if end >= 0 else len(self.text)

    def _escaped_class(self, start: int) -> Characters | None:
        r"""Read \d, \pL, \p{Greek} and the like; None if something else is escaped."""
        letter = self.text[start + 1 : start + 2]
        if letter and letter in PERL:
            self.at = start + 2
            return self._cased(PERL[letter])
        if letter not in ("p", "P"):
            return None
        end = start + 3
        name = self.text[start + 2 : end]
        if name == "{":
            end = self.text.find("}", start) + 1
            if not end:
                raise Invalid("invalid character class range", self.text[start:])
            name = self.text[start + 3 : end - 1]
        negated = letter == "P"
        if name.startswith("^"):
            negated, name = not negated, name[1:]
        group = unicode_group(name, negated=negated, fold=self.flags.fold)
        if group is None:
            raise Invalid("invalid character class range", self.text[start:end])
        self.at = end
        return group

    def _cased(self, characters: Characters) -> Characters:
        return characters.folded() if self.flags.fold else characters

    def _escape(self, start: int) -> int:
        """Read an escaped letter and return its code point."""
        if start + 1 >= len(self.text):
            raise Invalid("trailing backslash at end of expression", "")
        letter = self.text[start + 1]
        self.at = start + 2
        if letter.isascii() and not letter.isalnum():
            return ord(letter)
        if letter in _CONTROLS:
            return ord(_CONTROLS[letter])
        if letter == "x":
            return self._hexadecimal(start)
        if letter in _OCTAL:
            follows = self.text[self.at : self.at + 1]
            if letter == "0" or (follows and follows in _OCTAL):
                return self._octal(start)
        raise Invalid("invalid escape sequence", self.text[start : self.at])

    def _octal(self, start: int) -> int:
        end = start + 2
        while end < start + 4 and self.text[end : end + 1] in _OCTAL:
            end += 1
        self.at = end
        return int(self.text[start + 1 : end], 8)

    def _hexadecimal(self, start: int) -> int:
        r"""Read \x41 or \x{1F600}; an error shows the text up to the letter that is wrong."""
        if not self.text.startswith("{", self.at):
            digits = self.text[self.at : self.at + 2]
            self.at += len(digits)
            if len(digits) == 2 and _HEXADECIMAL.issuperset(digits):
                return int(digits, 16)
            raise Invalid("invalid escape sequence", self.text[start : self.at])
        self.at += 1
        point, digits = 0, ""
        while self.at < len(self.text):
            digit = self.text[self.at]
            self.at += 1
            if digit == "}" and digits:
                return point
            if digit not in _HEXADECIMAL or (point := point * 16 + int(digit, 16)) > 0x10FFFF:
                break
            digits += digit
        raise Invalid("invalid escape sequence", self.text[start : self.at])

    def _class(self, start: int) -> None:
        self.at = start + 1
        negated = self.text.startswith("^", self.at)
        self.at += negated
        found: list[Characters] = []
        first = True
        while first or not self.text.startswith("]", self.at):
            first = False
            found.append(self._class_part(start))
        joined = Characters.union(found, negated=negated, fold=self.flags.fold)
        self._add(One(joined))

    def _class_part(self, start: int) -> Characters:
        r"""Read one member of a class: [:alpha:], \d, \pL, a character or a range."""
        if self.text.startswith("[:", self.at) and (end := self.text.find(":]", self.at + 2)) >= 0:
            name = self.text[self.at : end + 2]
            if name not in POSIX:
                raise Invalid("invalid character class range", name)
            self.at = end + 2
            return self._cased(POSIX[name])
        if self.text.startswith("\\", self.at):
            characters = self._escaped_class(self.at)
            if characters is not None:
                return characters
        begin = self.at
        low = high = self._class_letter(start)
        if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] not in (
            "]",
            "",
        ):
            self.at += 1
            high = self._class_letter(start)
            if high < low:
                raise Invalid("invalid character class range", self.text[begin : self.at])
        return Characters(((low, high),))

    def _class_letter(self, start: int) -> int:
        if self.at >= len(self.text):
            raise Invalid("missing closing ]", self.text[start:])
        if self.text[self.at] == "\\":
            return self._escape(self.at)
        self.at += 1
        return ord(self.text[self.at - 1])


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and (len(text) == 1 or text[0] != "0")


_GROUPS_MAX = (
    16  # a group of Unicode makes some 600 instructions on bytes: 10,000 take 5 ms to compile
)


def is_costly_in_bytes(tree: Node) -> bool:
    r"""Return whether an expression is better matched letter by letter than byte by byte.

    It is if it has many groups of Unicode, repeats counted, and if it has ``\B``, which is found inside letters of two
    bytes otherwise.
    """
    groups = 0
    pending = [(tree, 1)]
    while pending:
        node, times = pending.pop()
        match node:
            case One(characters):
                groups += times * characters.has_groups
            case Place(kind):
                if kind == "no word":
                    return True
            case Sequence(parts) | Choice(parts):
                pending.extend((part, times) for part in parts)
            case Repeat(part, low, high):
                pending.append((part, times * max(low, high or 1, 1)))
    return groups > _GROUPS_MAX


def parse(text: str) -> Node:
    """Return the tree of a regular expression; raises Invalid."""
    return Parser(text).parse()
