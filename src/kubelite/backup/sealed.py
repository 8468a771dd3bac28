"""A stream of bytes encrypted with a passphrase: it can be opened by who knows it, and every change is noticed.

The key comes from the passphrase by scrypt. The stream is cut into chunks, each sealed with AES-256-GCM; the nonce of a
chunk has its number and whether it is the last, so chunks cannot be reordered, left out or cut off (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár). The head is authenticated with every chunk.
"""

import io
import os
import struct
from typing import TYPE_CHECKING, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAGIC: Final = b"kubelite sealed snapshot 1\n"
HEAD: Final = struct.Struct(
    f">{len(MAGIC)}sB16s7s"
)  # magic, log2 of scrypt's cost, salt, prefix of the nonces
COST_LOG2: Final = 15  # 32 MB and some 0.1 s; a guess at a passphrase costs as much
COST_LOG2_MAX: Final = 20  # 1 GB: more would let a file take the machine's memory
CHUNK_BYTES: Final = 1 << 20
TAG_BYTES: Final = 16
CHUNKS_MAX: Final = 1 << 32
PASSPHRASE_LENGTH_MIN: Final = 16


class CannotOpen(Exception):
    """The stream is none of ours, the passphrase is another one, or the stream was changed or cut off."""


class Sealer(io.RawIOBase):
    """A writable stream that seals into another one; without `finish` what it wrote cannot be opened."""

    def __init__(self, target: BinaryIO, passphrase: str) -> None:
        super().__init__()
        # A repeated nonce would break AES-GCM, so take the operating system's randomness, never an injected one.
        self._prefix = os.urandom(7)
        salt = os.urandom(16)
        self._head = HEAD.pack(MAGIC, COST_LOG2, salt, self._prefix)
        self._cipher = AESGCM(_key(passphrase, salt, COST_LOG2))
        self._target = target
        self._number = 0
        self._pending = bytearray()
        target.write(self._head)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take bytes; whole chunks are sealed and written at once."""
        piece = memoryview(data)
        self._pending += piece
        while len(self._pending) > CHUNK_BYTES:  # the last chunk is known only at the end
            self._seal(bytes(self._pending[:CHUNK_BYTES]), is_last=False)
            del self._pending[:CHUNK_BYTES]
        return piece.nbytes

    def finish(self) -> None:
        """Seal and write the last chunk."""
        self._seal(bytes(self._pending), is_last=True)
        self._pending.clear()

    def _seal(self, plain: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._prefix, self._number, is_last=is_last)
        self._target.write(self._cipher.encrypt(nonce, plain, self._head))
        self._number += 1


class Opener(io.RawIOBase):
    """A readable stream of what was sealed; raises CannotOpen as soon as something is wrong.

    What was read is whole only when `finish` has returned.
    """

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        super().__init__()
        self._head = source.read(HEAD.size)
        if len(self._head) < HEAD.size or not self._head.startswith(MAGIC):
            raise CannotOpen("it is no sealed snapshot")
        _, cost_log2, salt, self._prefix = HEAD.unpack(self._head)
        if not 1 <= cost_log2 <= COST_LOG2_MAX:
            raise CannotOpen("it is no sealed snapshot of this version")
        self._cipher = AESGCM(_key(passphrase, salt, cost_log2))
        self._source = source
        self._number = 0
        self._next = source.read(CHUNK_BYTES + TAG_BYTES)
        self._plain = memoryview(b"")
        self._is_at_end = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer as far as one chunk suffices; 0 at the end. Raises CannotOpen."""
        if not self._plain and not self._is_at_end:
            self._open()
        room = memoryview(buffer)
        count = min(len(room), len(self._plain))
        room[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def finish(self) -> None:
        """Read to the end, which proves that nothing is missing. Raises CannotOpen."""
        while not self._is_at_end:
            self._open()

    def _open(self) -> None:
        chunk, self._next = self._next, self._source.read(CHUNK_BYTES + TAG_BYTES)
        self._is_at_end = not self._next
        nonce = _nonce(self._prefix, self._number, is_last=self._is_at_end)
        try:
            self._plain = memoryview(self._cipher.decrypt(nonce, chunk, self._head))
        except InvalidTag:
            self._is_at_end = True
            what = "the passphrase is another one, or it" if self._number == 0 else "it"
            raise CannotOpen(f"{what} was changed or cut off") from None
        self._number += 1


def _key(passphrase: str, salt: bytes, cost_log2: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << cost_log2, r=8, p=1).derive(passphrase.encode())


def _nonce(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    assert number < CHUNKS_MAX, "4 PB"
    return prefix + number.to_bytes(4, "big") + bytes([is_last])
