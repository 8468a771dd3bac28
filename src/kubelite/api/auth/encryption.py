"""Secrets at rest: an engine under the store that seals the values of chosen keys with AES-GCM.

The store above sees plain bytes; on disk, and in snapshots, a sealed value begins with ``k8s:enc:aesgcm:v1:<key>:``, as
Kubernetes writes it. Values that are not sealed, or sealed with an older key of the file, are readable: `rewrite` moves
all of them to the newest key. The place of a value (its key in the store) is authenticated, so that sealed values
cannot be swapped.
"""

import base64
import binascii
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.secret_files import write_file
from kubelite.randomness import Randomness
from kubelite.store.engine import Batch, Engine, Logged
from kubelite.store.protocol import Entry

PREFIX = b"k8s:enc:aesgcm:v1:"
KEY_BYTES = 32
NONCE_BYTES = 12
SECRETS = ("/secrets.core/",)
REWRITE_ROWS = 256  # in one batch


class EncryptionFailed(Exception):
    """The key file cannot be used, or a value cannot be opened with any of its keys."""


class Key(Struct, frozen=True):
    """One key of the file."""

    name: str
    secret: str  # base64


class Keys(Struct, frozen=True):
    """The key file: the first key seals, all open."""

    keys: tuple[Key, ...]


class Transformer:
    """Seals and opens values."""

    def __init__(self, keys: Keys) -> None:
        """Take the keys; raises EncryptionFailed when there is none or one is not 32 bytes long."""
        if not keys.keys:
            raise EncryptionFailed("cannot encrypt secrets: the key file has no key")
        self._ciphers = {key.name.encode(): AESGCM(_secret(key)) for key in keys.keys}
        self._newest = keys.keys[0].name.encode()
        self._head = PREFIX + self._newest + b":"

    def encrypt(self, place: str, value: bytes) -> bytes:
        """Seal a value with the newest key."""
        # The operating system's randomness: a nonce that came twice would give the key away.
        nonce = os.urandom(NONCE_BYTES)
        return (
            self._head + nonce + self._ciphers[self._newest].encrypt(nonce, value, place.encode())
        )

    def decrypt(self, place: str, value: bytes) -> bytes:
        """Open a sealed value, or return a plain one; raises EncryptionFailed."""
        if not value.startswith(PREFIX):
            return value
        name, _, sealed = value[len(PREFIX) :].partition(b":")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise EncryptionFailed(
                f"cannot open {place}: the key file has no key {name.decode(errors='replace')}"
            )
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise EncryptionFailed(
                f"cannot open {place}: it was changed, or sealed with another key"
            ) from error

    def is_current(self, value: bytes) -> bool:
        """Tell whether a value is sealed with the newest key."""
        return value.startswith(self._head)


class EncryptedEngine:
    """Seals what an engine keeps under some prefixes."""

    def __init__(
        self, engine: Engine, transformer: Transformer, prefixes: Sequence[str] = SECRETS
    ) -> None:
        self._engine = engine
        self._transformer = transformer
        self._prefixes = tuple(prefixes)

    def revision(self) -> int:
        """Return the revision of the newest durable batch."""
        return self._engine.revision()

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries, opened; raises EncryptionFailed."""
        for entry in self._engine.entries():
            if entry.key.startswith(self._prefixes):
                yield replace(entry, value=self._transformer.decrypt(entry.key, entry.value))
            else:
                yield entry

    def log(self) -> Iterator[Logged]:
        """Yield the undo log, opened; raises EncryptionFailed."""
        for row in self._engine.log():
            yield self._logged(row, self._transformer.decrypt)

    def write(self, batch: Batch) -> None:
        """Make a batch durable, sealed."""
        seal = self._transformer.encrypt
        puts = [
            replace(entry, value=seal(entry.key, entry.value))
            if entry.key.startswith(self._prefixes)
            else entry
            for entry in batch.puts
        ]
        log = [self._logged(row, seal) for row in batch.log]
        self._engine.write(replace(batch, puts=puts, log=log))

    def size_bytes(self) -> int:
        """Return how much disk the data takes."""
        return self._engine.size_bytes()

    def close(self) -> None:
        """Release the files."""
        self._engine.close()

    def rewrite(self) -> int:
        """Seal everything that is plain or sealed with an older key; return how many values that were.

        The undo log keeps older values for as long as its window; so keep the older keys in the file until then.
        """
        stale = [
            entry
            for entry in self._engine.entries()
            if entry.key.startswith(self._prefixes)
            and not self._transformer.is_current(entry.value)
        ]
        revision = self._engine.revision()
        for start in range(0, len(stale), REWRITE_ROWS):
            rows = stale[start : start + REWRITE_ROWS]
            opened = [
                replace(row, value=self._transformer.decrypt(row.key, row.value)) for row in rows
            ]
            self.write(Batch(puts=opened, deletes=(), log=(), revision=revision, floor=0))
        return len(stale)

    def _logged(self, row: Logged, change: Callable[[str, bytes], bytes]) -> Logged:
        if not row.key.startswith(self._prefixes):
            return row
        replaced, final = row.replaced, row.final
        if replaced is not None:
            replaced = (change(row.key, replaced[0]), *replaced[1:])
        if final is not None:
            final = (change(row.key, final[0]), final[1])
        return replace(row, replaced=replaced, final=final)


def read_keys(path: Path) -> Keys:
    """Read a key file, which only its owner may read; raises EncryptionFailed. Blocks."""
    try:
        if path.stat().st_mode & 0o077:
            raise EncryptionFailed(f"cannot use {path}: others may read it (its mode must be 0600)")
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except FileNotFoundError as error:
        raise EncryptionFailed(f"cannot use {path}: it does not exist") from error
    except (OSError, msgspec.DecodeError) as error:
        raise EncryptionFailed(f"cannot use {path}: {error}") from error


def ensure_keys(path: Path, randomness: Randomness) -> Keys:
    """Read the key file, or make one with a first key. Blocks."""
    if not path.exists():
        _write(path, Keys((_new_key(1, randomness),)))
    return read_keys(path)


def rotate_keys(path: Path, randomness: Randomness) -> Keys:
    """Put a new key in front of the others; `EncryptedEngine.rewrite` then moves all values to it. Blocks."""
    keys = read_keys(path)
    number = 1 + max(int(key.name.removeprefix("key")) for key in keys.keys)
    _write(path, Keys((_new_key(number, randomness), *keys.keys)))
    return read_keys(path)


def retire_keys(path: Path) -> Keys:
    """Forget all keys but the newest, once no value on disk needs them. Blocks."""
    _write(path, Keys(read_keys(path).keys[:1]))
    return read_keys(path)


def _new_key(number: int, randomness: Randomness) -> Key:
    return Key(f"key{number}", base64.b64encode(randomness.token_bytes(KEY_BYTES)).decode())


def _write(path: Path, keys: Keys) -> None:
    write_file(path, msgspec.json.encode(keys))


def _secret(key: Key) -> bytes:
    try:
        secret = base64.b64decode(key.secret, validate=True)
    except binascii.Error as error:
        raise EncryptionFailed(f"cannot use key {key.name}: it is not base64") from error
    if len(secret) != KEY_BYTES:
        raise EncryptionFailed(f"cannot use key {key.name}: it must be {KEY_BYTES} bytes long")
    return secret
