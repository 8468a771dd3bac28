"""Sealed streams: what comes out is what went in, or nothing does."""

import io

import pytest

from kubelite.backup.sealed import (
    CHUNK_BYTES,
    COST_LOG2_MAX,
    HEAD,
    MAGIC,
    TAG_BYTES,
    CannotOpen,
    Opener,
    Sealer,
)

WORDS = "a passphrase of a test"
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES


def _seal(plain: bytes, piece_bytes: int = 100_000) -> bytes:
    target = io.BytesIO()
    sealer = Sealer(target, WORDS)
    for start in range(0, len(plain), piece_bytes):
        assert sealer.write(plain[start : start + piece_bytes]) > 0
    sealer.finish()
    return target.getvalue()


def _open(sealed: bytes, words: str = WORDS) -> bytes:
    opener = Opener(io.BytesIO(sealed), words)
    plain = opener.read()
    opener.finish()
    return plain


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5]
)
def test_what_was_sealed_is_opened(size: int) -> None:
    plain = bytes(range(251)) * (size // 251 + 1)
    assert _open(_seal(plain[:size])) == plain[:size]


def test_two_sealings_have_nothing_in_common() -> None:
    one, other = _seal(b"x" * 100), _seal(b"x" * 100)
    assert one[len(MAGIC) + 1 :] != other[len(MAGIC) + 1 :]
    assert one[HEAD.size :] != other[HEAD.size :]


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(CannotOpen, match="the passphrase is another one"):
        _open(_seal(b"x"), "another passphrase")


WHOLE = _seal(bytes(2 * CHUNK_BYTES + 10))


@pytest.mark.parametrize(
    "changed",
    [
        WHOLE[:-1],
        WHOLE[: HEAD.size + 2 * SEALED_CHUNK],  # cut off between two chunks
        WHOLE[: HEAD.size + SEALED_CHUNK],
        WHOLE[: HEAD.size],
        WHOLE + b"x",
        WHOLE + WHOLE[HEAD.size :],
        WHOLE[: HEAD.size] + WHOLE[HEAD.size + SEALED_CHUNK :],  # without the first chunk
        WHOLE[: HEAD.size]
        + WHOLE[HEAD.size + SEALED_CHUNK : HEAD.size + 2 * SEALED_CHUNK]
        + WHOLE[HEAD.size : HEAD.size + SEALED_CHUNK]
        + WHOLE[HEAD.size + 2 * SEALED_CHUNK :],  # two chunks swapped
    ],
    ids=range(8),
)
def test_no_other_length_and_no_other_order_is_opened(changed: bytes) -> None:
    with pytest.raises(CannotOpen):
        _open(changed)


@pytest.mark.parametrize(
    "place", [len(MAGIC) + 1, HEAD.size - 1, HEAD.size, HEAD.size + SEALED_CHUNK, len(WHOLE) - 1]
)
def test_one_changed_bit_is_noticed(place: int) -> None:
    changed = bytearray(WHOLE)
    changed[place] ^= 1
    with pytest.raises(CannotOpen):
        _open(bytes(changed))


@pytest.mark.parametrize("content", [b"", b"x", b"kubelite", bytes(100)])
def test_other_files_are_told_apart(content: bytes) -> None:
    with pytest.raises(CannotOpen, match="it is no sealed snapshot"):
        Opener(io.BytesIO(content), WORDS)


@pytest.mark.parametrize("cost_log2", [0, COST_LOG2_MAX + 1, 255])
def test_a_file_cannot_choose_how_much_memory_its_key_takes(cost_log2: int) -> None:
    head = HEAD.pack(MAGIC, cost_log2, bytes(16), bytes(7))
    with pytest.raises(CannotOpen, match="of this version"):
        Opener(io.BytesIO(head + bytes(100)), WORDS)
