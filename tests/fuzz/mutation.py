"""Makes hostile inputs out of good ones. Case N of a seed is always the same, whatever ran before it."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

STEPS_MAX = 6
SIZE_MAX = 64 * 1024
BORING = (0, 1, 7, 31, 32, 127, 128, 254, 255)
LENGTHS = (1, 2, 63, 64, 127, 128, 255, 256, 4095, 4096)
NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, -(2**63) - 1, 1e308, 0.1, 10**30)
TEXTS = (
    "", " ", "\x00", "\n", "\r\n", "a\nb", "..", "../..", "/", "a/b", "%00", "%2e%2e", "*", "-", "--", "$(x)", "`x`",
    "{}", "};", "; drop", "' or '", '"', "\\", "\ud7ff", "\u202e", "\uffff", "\u0660", "\uff11", "x" * 300, "true",
    "null", "0", "-1", "1e999", "0x10", "1_000", "nan", "127.0.0.1", "::1", "0.0.0.0", "10.0.0.0/8", "::/0",
    "169.254.169.254", "010.1.1.1", "1.2.3.4/33", "system:masters", "default", "kube-system", "80/tcp", "$patch",
    "$setElementOrder/x",
)  # fmt: skip
ODD_KEYS = (
    "",
    "$patch",
    "$retainKeys",
    "__class__",
    "metadata",
    "name",
    "a" * 300,
    "\x00",
    "k:{",
    "f:x",
    ".",
)


class Mutator:
    """Derives case after case from the `seeds` of a target; `words` are what its format is made of."""

    def __init__(
        self, target: str, seeds: Sequence[bytes], words: Sequence[bytes], *, is_json: bool
    ) -> None:
        assert seeds, f"{target} has no corpus"
        self._target = target
        self._seeds = seeds
        self._words = words
        self._is_json = is_json

    def case(self, number: int) -> bytes:
        """Return case `number`."""
        chance = random.Random(f"{self._target}/{number}")
        data = chance.choice(self._seeds)
        if self._is_json and chance.random() < 0.9:
            data = _changed_json(data, chance, self._seeds)
            if chance.random() < 0.85:
                return data[:SIZE_MAX]
        for _ in range(chance.randint(1, STEPS_MAX)):
            data = chance.choice(_BYTE_STEPS)(data, chance, self)[:SIZE_MAX]
        return data

    def word(self, chance: random.Random) -> bytes:
        """Return a word of the format, or any other text."""
        if self._words and chance.random() < 0.8:
            return chance.choice(self._words)
        return chance.choice(TEXTS).encode("utf-8", "surrogatepass")

    def other(self, chance: random.Random) -> bytes:
        """Return another seed."""
        return chance.choice(self._seeds)


Step = Callable[[bytes, random.Random, Mutator], bytes]


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randint(0, len(data))


def _flip(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    for _number in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    changed = bytearray(data or b"\0")
    changed[chance.randrange(len(changed))] = chance.choice(BORING)
    return bytes(changed)


def _insert_word(data: bytes, chance: random.Random, mutator: Mutator) -> bytes:
    at = _place(data, chance)
    return data[:at] + mutator.word(chance) + data[at:]


def _insert_bytes(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]


def _cut(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    first, second = sorted((_place(data, chance), _place(data, chance)))
    return data[:first] + data[second:]


def _end(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    return data[: _place(data, chance)]


def _repeat(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    first = _place(data, chance)
    piece = data[first : first + chance.randint(1, 40)] or b"\0"
    return data[:first] + piece * chance.choice(LENGTHS) + data[first:]


def _splice(data: bytes, chance: random.Random, mutator: Mutator) -> bytes:
    other = mutator.other(chance)
    return data[: _place(data, chance)] + other[_place(other, chance) :]


def _number(data: bytes, chance: random.Random, _: Mutator) -> bytes:
    """Write a length or count that lies over what stands there."""
    if len(data) < 4:
        return data + b"\xff\xff\xff\xff"
    width = chance.choice((1, 2, 4))
    value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    at = chance.randrange(len(data) - width + 1)
    written = (value & (1 << 8 * width) - 1).to_bytes(width, "big")
    return data[:at] + chance.choice((written, written[::-1])) + data[at + width :]


_BYTE_STEPS: tuple[Step, ...] = (
    _flip, _overwrite, _insert_word, _insert_word, _insert_bytes, _cut, _end, _repeat, _splice, _number,
)  # fmt: skip


def _changed_json(data: bytes, chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change a JSON value as a tree, so that most of it stays understandable."""
    try:
        value = json.loads(data)
    except ValueError:
        return data
    for _ in range(chance.randint(1, STEPS_MAX)):
        value = _changed(value, chance, seeds)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _changed(value: Any, chance: random.Random, seeds: Sequence[bytes]) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        match chance.randrange(9):
            case 0:
                del value[key]
            case 1:
                value[chance.choice(ODD_KEYS)] = _leaf(chance)
            case 2:
                value[chance.choice(ODD_KEYS)] = value[key]
            case _:
                value[key] = _changed(value[key], chance, seeds)
        return value
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        match chance.randrange(6):
            case 0:
                del value[at]
            case 1:
                value.insert(at, json.loads(json.dumps(value[at])))
            case 2:
                value.extend(value[at : at + 1] * chance.choice((2, 10, 100)))
            case _:
                value[at] = _changed(value[at], chance, seeds)
        return value
    if chance.random() < 0.1:
        try:
            return json.loads(chance.choice(seeds))
        except ValueError:
            return _leaf(chance)
    if isinstance(value, str) and chance.random() < 0.5:
        return value + chance.choice(TEXTS) if chance.random() < 0.5 else chance.choice(TEXTS)
    return _leaf(chance)


def _leaf(chance: random.Random) -> Any:
    match chance.randrange(5):
        case 0:
            return chance.choice(NUMBERS)
        case 1:
            return chance.choice((None, True, False, [], {}, [None], {"": None}, [[]], [{}]))
        case 2:
            return _deep(chance.choice((3, 50, 300)))
        case _:
            return chance.choice(TEXTS)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value
