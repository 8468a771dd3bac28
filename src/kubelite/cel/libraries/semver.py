"""Semantic versions: semver, isSemver, major, minor, patch and comparisons; with `normalize` short forms too."""

import string
from typing import ClassVar, Final, NamedTuple

from kubelite.cel.declarations import ONE, CallEstimate, Library
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import function, member, plain
from kubelite.cel.libraries.go_text import quote
from kubelite.cel.types import BOOL, INT, STRING, Type, struct
from kubelite.cel.values import UINT_MAX, EvaluationFailed, OpaqueValue

SEMVER_TYPE: Final = struct("kubernetes.Semver")
_DIGITS: Final = frozenset(string.digits)
_LETTERS: Final = frozenset(string.ascii_letters + string.digits + "-")

Identifier = tuple[int, int, str]  # 0, number, "" or 1, 0, text: numbers come before texts


class Version(NamedTuple):
    """The parts of a version; one without prerelease comes after those with one."""

    numbers: tuple[int, int, int]
    prerelease: tuple[Identifier, ...]
    build: tuple[str, ...]


class Semver(OpaqueValue):
    """A semantic version; equality and order ignore the build."""

    __slots__ = ("version",)
    cel_type: ClassVar[Type] = SEMVER_TYPE

    def __init__(self, version: Version) -> None:
        self.version = version

    @property
    def order(self) -> tuple[tuple[int, int, int], bool, tuple[Identifier, ...]]:
        """Return what versions are compared by."""
        numbers, prerelease, _ = self.version
        return numbers, not prerelease, prerelease

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.order == other.order

    def __hash__(self) -> int:
        return hash(self.order)

    def __str__(self) -> str:
        numbers, prerelease, build = self.version
        text = ".".join(map(str, numbers))
        if prerelease:
            text += "-" + ".".join(word or str(number) for _, number, word in prerelease)
        return text + ("+" + ".".join(build) if build else "")


def parse(text: str, normalize: bool = False) -> Semver:
    """Read a version; raises EvaluationFailed."""
    try:
        return Semver(_parse(_normalized(text) if normalize else text))
    except ValueError as error:
        raise EvaluationFailed(str(error)) from error


def is_semver(text: str, normalize: bool = False) -> bool:
    """Return whether a text is a version."""
    try:
        parse(text, normalize)
    except EvaluationFailed:
        return False
    return True


def _normalized(text: str) -> str:
    """Return a version without leading v and zeros, its missing parts zero."""
    parts = text.removeprefix("v").split(".", 2)
    parts = [_without_zeros(part) if len(part) > 1 else part for part in parts]
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise ValueError("short version cannot contain PreRelease/Build meta data")
        parts.extend("0" for _ in range(3 - len(parts)))
    return ".".join(parts)


def _without_zeros(part: str) -> str:
    bare = part.lstrip("0")
    return bare if bare and bare[0] in _DIGITS else "0" + bare


def _parse(text: str) -> Version:
    if not text:
        raise ValueError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise ValueError("No Major.Minor.Patch elements found")
    major, minor = _number(parts[0], "Major"), _number(parts[1], "Minor")
    rest, plus, build = parts[2].partition("+")
    patch, dash, prerelease = rest.partition("-")
    numbers = major, minor, _number(patch, "Patch")
    identifiers = tuple(map(_identifier, prerelease.split("."))) if dash else ()
    return Version(numbers, identifiers, tuple(map(_build, build.split("."))) if plus else ())


def _number(text: str, name: str) -> int:
    if not _DIGITS.issuperset(text):
        raise ValueError(f"Invalid character(s) found in {name.lower()} number {quote(text)}")
    if len(text) > 1 and text[0] == "0":
        raise ValueError(f"{name} number must not contain leading zeroes {quote(text)}")
    return _uint(text)


def _uint(text: str) -> int:
    if not text:
        raise ValueError('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 20 or int(text) > UINT_MAX:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return int(text)


def _identifier(text: str) -> Identifier:
    if not text:
        raise ValueError("Prerelease is empty")
    if _DIGITS.issuperset(text):
        if len(text) > 1 and text[0] == "0":
            raise ValueError(
                f"Numeric PreRelease version must not contain leading zeroes {quote(text)}"
            )
        return 0, _uint(text), ""
    if not _LETTERS.issuperset(text):
        raise ValueError(f"Invalid character(s) found in prerelease {quote(text)}")
    return 1, 0, text


def _build(text: str) -> str:
    if not text:
        raise ValueError("Build meta data is empty")
    if not _LETTERS.issuperset(text):
        raise ValueError(f"Invalid character(s) found in build meta data {quote(text)}")
    return text


def compare(version: Semver, other: Semver) -> int:
    """Return -1, 0 or 1."""
    return (version.order > other.order) - (version.order < other.order)


def _int64(number: int) -> int:
    """Return an unsigned number as Go converts it to a signed one."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


_UNIT = costs.fixed(1)
_PARSING = costs.by_size()
_PAIR = (SEMVER_TYPE, SEMVER_TYPE)

LIBRARY: Final = Library(
    "kubernetes.Semver",
    types=(SEMVER_TYPE,),
    functions=(
        function(
            "semver",
            plain("string_to_semver", (STRING,), SEMVER_TYPE, parse, _PARSING),
            plain("string_bool_to_semver", (STRING, BOOL), SEMVER_TYPE, parse, _PARSING),
        ),
        function(
            "isSemver",
            plain("is_semver_string", (STRING,), BOOL, is_semver, _PARSING),
            plain("is_semver_string_bool", (STRING, BOOL), BOOL, is_semver, _PARSING),
        ),
        function(
            "isGreaterThan",
            member(
                "semver_is_greater_than",
                _PAIR,
                BOOL,
                lambda version, other: version.order > other.order,
                _UNIT,
            ),
        ),
        function(
            "isLessThan",
            member(
                "semver_is_less_than",
                _PAIR,
                BOOL,
                lambda version, other: version.order < other.order,
                _UNIT,
            ),
        ),
        function("compareTo", member("semver_compare_to", _PAIR, INT, compare, _UNIT)),
        *(
            function(
                name,
                member(
                    f"semver_{name}",
                    (SEMVER_TYPE,),
                    INT,
                    lambda version, at=at: _int64(version.version.numbers[at]),
                    _UNIT,
                ),
            )
            for at, name in enumerate(("major", "minor", "patch"))
        ),
    ),
    equality={SEMVER_TYPE.name: lambda _arguments: CallEstimate(ONE)},
)
