"""Makes hostile inputs out of good ones. Case N of a seed is always the same, whatever ran before it."""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
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
SLOTS_MAX = 2000
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
        if slots := _slots(value):
            _change(*chance.choice(slots), chance, seeds)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _slots(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in a tree as the object or array it is in, and its key there."""
    found: list[tuple[Any, Any]] = []
    level = [value]
    while level and len(found) < SLOTS_MAX:
        within = level.pop()
        keys = range(len(within)) if isinstance(within, list) else list(within)
        for key in keys if isinstance(within, dict | list) else ():
            found.append((within, key))
            if isinstance(within[key], dict | list):
                level.append(within[key])
    return found


def _change(within: Any, key: Any, chance: random.Random, seeds: Sequence[bytes]) -> None:
    value = within[key]
    match chance.randrange(10):
        case 0:
            del within[key]
        case 1 if isinstance(within, dict):
            within[chance.choice(ODD_KEYS)] = _leaf(chance)
        case 2 if isinstance(within, dict):
            within[chance.choice(ODD_KEYS)] = json.loads(json.dumps(value))
        case 1 | 2:
            within.extend([json.loads(json.dumps(value)) for _ in range(chance.choice((1, 10)))])
        case 3:
            with suppress(ValueError):
                within[key] = json.loads(chance.choice(seeds))
        case 4 | 5 if isinstance(value, str):
            within[key] = value + chance.choice(TEXTS)
        case 4 | 5 if isinstance(value, int):
            within[key] = value + chance.choice((-1, 1, 65536, -value, -2 * value))
        case _:
            within[key] = _leaf(chance)


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
