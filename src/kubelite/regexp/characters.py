"""Sets of characters in regular expressions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final
from unicodedata import category

Ranges = tuple[tuple[int, int], ...]  # inclusive, of code points

_CATEGORIES: Final = frozenset(
    [
        "C",
        "Cc",
        "Cf",
        "Cn",
        "Co",
        "Cs",
        "L",
        "LC",
        "Ll",
        "Lm",
        "Lo",
        "Lt",
        "Lu",
        "M",
        "Mc",
        "Me",
        "Mn",
        "N",
        "Nd",
        "Nl",
        "No",
        "P",
        "Pc",
        "Pd",
        "Pe",
        "Pf",
        "Pi",
        "Po",
        "Ps",
        "S",
        "Sc",
        "Sk",
        "Sm",
        "So",
        "Z",
        "Zl",
        "Zp",
        "Zs",
    ]
)
_TABLES: Final = _CATEGORIES | {"Any"}
_CASED = ("Lu", "Ll", "Lt")


class Characters:
    """A set of characters: ranges, and Unicode categories or scripts, perhaps negated."""

    __slots__ = ("_fold", "_starts", "group", "negated", "parts", "ranges")

    def __init__(
        self,
        ranges: Ranges = (),
        *,
        negated: bool = False,
        fold: bool = False,
        group: str = "",
        parts: tuple[Characters, ...] = (),
    ) -> None:
        """`fold`: case does not matter. `group`: a Unicode category or script, besides the ranges."""
        self.ranges = sorted(ranges)
        self._starts = [low for low, _ in self.ranges]
        self.negated = negated
        self._fold = fold
        self.parts = parts
        self.group = group

    @classmethod
    def union(cls, sets: Iterable[Characters], *, negated: bool, fold: bool) -> Characters:
        """Return the characters of any of the sets, or with `negated` all others."""
        simple: list[tuple[int, int]] = []
        others: list[Characters] = []
        for each in sets:
            if each.negated or each.group or each.parts:
                others.append(each)
            else:
                simple.extend(each.ranges)
        ranges = _merged(simple)
        return cls(ranges, negated=negated, fold=fold, parts=tuple(others))

    @property
    def scripts(self) -> frozenset[str]:
        """The Unicode groups that are no categories: Python has no tables of them."""
        own = {self.group} if self.group and self.group not in _TABLES else set()
        return frozenset(own.union(*(part.scripts for part in self.parts)))

    @property
    def has_groups(self) -> bool:
        """Whether Unicode groups are among the characters."""
        return bool(self.group) or any(part.has_groups for part in self.parts)

    def folded(self) -> Characters:
        """Return the set without regard to case."""
        return Characters(
            tuple(self.ranges), negated=self.negated, fold=True, group=self.group, parts=self.parts
        )

    def __contains__(self, letter: str) -> bool:
        found = self._has(letter)
        if not found and self._fold:
            found = any(self._has(other) for other in _variants(letter))
        return found != self.negated

    def _has(self, letter: str) -> bool:
        at = bisect_right(self._starts, ord(letter)) - 1
        if at >= 0 and ord(letter) <= self.ranges[at][1]:
            return True
        if self.group and _is_in_group(letter, self.group):
            return True
        return any(letter in part for part in self.parts)


def _merged(ranges: list[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


# Letters with more than one other case: the signs of kelvin and angstrom, the long and the sharp s.
_ODD_VARIANTS: Final = {
    "k": "\u212a",
    "K": "\u212a",
    "\u212a": "kK",
    "s": "\u017f",
    "S": "\u017f",
    "\u017f": "sS",
    "\xe5": "\u212b",
    "\xc5": "\u212b",
    "\u212b": "\xe5\xc5",
    "\xdf": "\u1e9e",
    "\u1e9e": "\xdf",
}


def _variants(letter: str) -> Iterable[str]:
    """Return the letters that differ from one in case only."""
    found = {letter.lower(), letter.upper(), letter.title(), *_ODD_VARIANTS.get(letter, "")}
    return (other for other in found if len(other) == 1)


def _is_in_group(letter: str, group: str) -> bool:
    if group == "Any":
        return True
    if group == "LC":
        return category(letter) in _CASED
    return category(letter).startswith(group)


_ALIASES: Final = {
    "other": "C",
    "control": "Cc",
    "format": "Cf",
    "unassigned": "Cn",
    "privateuse": "Co",
    "surrogate": "Cs",
    "letter": "L",
    "casedletter": "LC",
    "lowercaseletter": "Ll",
    "modifierletter": "Lm",
    "otherletter": "Lo",
    "titlecaseletter": "Lt",
    "uppercaseletter": "Lu",
    "mark": "M",
    "spacingmark": "Mc",
    "enclosingmark": "Me",
    "nonspacingmark": "Mn",
    "number": "N",
    "decimalnumber": "Nd",
    "letternumber": "Nl",
    "othernumber": "No",
    "punctuation": "P",
    "connectorpunctuation": "Pc",
    "dashpunctuation": "Pd",
    "closepunctuation": "Pe",
    "finalpunctuation": "Pf",
    "initialpunctuation": "Pi",
    "otherpunctuation": "Po",
    "openpunctuation": "Ps",
    "symbol": "S",
    "currencysymbol": "Sc",
    "modifiersymbol": "Sk",
    "mathsymbol": "Sm",
    "othersymbol": "So",
    "separator": "Z",
    "lineseparator": "Zl",
    "paragraphseparator": "Zp",
    "spaceseparator": "Zs",
    "any": "Any",
} | {name.lower(): name for name in _CATEGORIES}


def unicode_group(name: str, *, negated: bool, fold: bool) -> Characters | None:
    r"""Return the characters of \p{name}; None if nothing can have that name.

    Case and signs in the name do not matter, as in Go.
    """
    bare = name.replace("_", "").replace("-", "").replace(" ", "").lower()
    if not bare.isascii() or not bare.isalpha():
        return None
    if bare not in _ALIASES and len(bare) < 3:
        return None
    return Characters(group=_ALIASES.get(bare, name), negated=negated, fold=fold)


def _of(text: str) -> Ranges:
    """Return the ranges of a text such as ``azAZ``: pairs of first and last."""
    points = [ord(letter) for letter in text]
    return tuple(zip(points[::2], points[1::2], strict=True))


_DIGITS, _WORDS, _SPACES = _of("09"), _of("09AZ__az"), _of("\t\n\f\r  ")

PERL: Final = MappingProxyType(
    {
        "d": Characters(_DIGITS),
        "D": Characters(_DIGITS, negated=True),
        "s": Characters(_SPACES),
        "S": Characters(_SPACES, negated=True),
        "w": Characters(_WORDS),
        "W": Characters(_WORDS, negated=True),
    }
)

_POSIX: Final = {
    "alnum": _of("09AZaz"),
    "alpha": _of("AZaz"),
    "ascii": _of("\x00\x7f"),
    "blank": _of("\t\t  "),
    "cntrl": _of("\x00\x1f\x7f\x7f"),
    "digit": _DIGITS,
    "graph": _of("!~"),
    "lower": _of("az"),
    "print": _of(" ~"),
    "punct": _of("!/:@[`{~"),
    "space": _of("\t\r  "),
    "upper": _of("AZ"),
    "word": _WORDS,
    "xdigit": _of("09AFaf"),
}
POSIX: Final = MappingProxyType(
    {f"[:{name}:]": Characters(ranges) for name, ranges in _POSIX.items()}
    | {f"[:^{name}:]": Characters(ranges, negated=True) for name, ranges in _POSIX.items()}
)
