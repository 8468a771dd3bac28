"""Encryption at rest: an engine under the store that seals values under some key prefixes with AES-GCM.

The store above sees plain bytes. On disk and in snapshots a sealed value begins with ``k8s:enc:aesgcm:v1:<key>:``, as
in Kubernetes. Plain values and values sealed with an older key of the file stay readable. Those found when the engine
is read are `stale` until `seal` has sealed them with the newest key. The store key of a value is authenticated with it,
so sealed values cannot be swapped.

A mark in the store names the form that the whole file has, free pages included; it is set only after a compaction.
"""

import base64
import binascii
import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.secret_files import read_with_exposure, write_file
from kubelite.randomness import Randomness
from kubelite.store.engine import Batch, Engine, Logged, Rewritable, changed
from kubelite.store.protocol import Entry

log = logging.getLogger(__name__)

PREFIX = b"k8s:enc:aesgcm:v1:"
KEY_BYTES = 32
NONCE_BYTES = 12
SECRETS = ("/secrets.core/",)
SEALED_ROWS = 64  # in one commit
MIXED = "mixed"  # the mark of a store that may hold values of several forms


class EncryptionFailed(Exception):
    """The key file is unusable, or a value cannot be decrypted with its keys."""


class Key(Struct, frozen=True):
    """One key of the file, of `KEY_BYTES` bytes."""

    name: str
    secret: str  # base64


class Keys(Struct, frozen=True):
    """The key file: the first key encrypts, all decrypt."""

    keys: tuple[Key, ...]


class Transformer:
    """Encrypts and decrypts values."""

    def __init__(self, keys: Keys, *, seals: bool = True) -> None:
        """Prepare the keys; without `seals` they only decrypt, and values are written plain.

        Raises EncryptionFailed if there is no key to encrypt with or a key is not 32 bytes long.
        """
        if seals and not keys.keys:
            raise EncryptionFailed("cannot encrypt secrets: the key file has no key")
        self._ciphers = {key.name.encode(): AESGCM(_secret(key)) for key in keys.keys}
        self._newest = keys.keys[0].name.encode() if seals else b""
        self._head = PREFIX + self._newest + b":"
        self._seals = seals
        self.form = _form(keys.keys[0]) if seals else ""

    def encrypt(self, place: str, value: bytes) -> bytes:
        """Encrypt a value with the newest key; `place` is its store key."""
        if not self._seals:
            return value
        # A repeated nonce would break AES-GCM, so use the operating system's randomness, never an injected one.
        nonce = os.urandom(NONCE_BYTES)
        return (
            self._head + nonce + self._ciphers[self._newest].encrypt(nonce, value, place.encode())
        )

    def decrypt(self, place: str, value: bytes) -> bytes:
        """Decrypt a sealed value, or return a plain one; raises EncryptionFailed."""
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
        """Return whether a value has the form that `encrypt` produces."""
        return value.startswith(self._head) if self._seals else not value.startswith(PREFIX)

    def renew(self, place: str, value: bytes) -> bytes:
        """Return a value in the form that `encrypt` produces; raises EncryptionFailed."""
        return value if self.is_current(value) else self.encrypt(place, self.decrypt(place, value))


class EncryptedEngine:
    """Encrypts the values that an engine stores under some prefixes."""

    def __init__(
        self, engine: Rewritable, transformer: Transformer, prefixes: Sequence[str] = SECRETS
    ) -> None:
        self._engine = engine
        self._transformer = transformer
        self._prefixes = tuple(prefixes)
        # Keys of entries and revisions of log rows that did not have the newest form when they were read.
        self._stale_entries: deque[str] = deque()
        self._stale_rows: deque[int] = deque()

    def revision(self) -> int:
        """Return the revision of the newest durable batch."""
        return self._engine.revision()

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries, decrypted; raises EncryptionFailed."""
        for entry in self._engine.entries():
            if entry.key.startswith(self._prefixes):
                if not self._transformer.is_current(entry.value):
                    self._stale_entries.append(entry.key)
                yield replace(entry, value=self._transformer.decrypt(entry.key, entry.value))
            else:
                yield entry

    def log(self) -> Iterator[Logged]:
        """Yield the undo log, decrypted; raises EncryptionFailed."""
        for row in self._engine.log():
            if row.key.startswith(self._prefixes):
                if any(not self._transformer.is_current(value) for value in _values(row)):
                    self._stale_rows.append(row.revision)
                yield changed(row, self._transformer.decrypt)
            else:
                yield row

    def write(self, batch: Batch) -> None:
        """Encrypt a batch and make it durable."""
        seal = self._transformer.encrypt
        puts = [
            replace(entry, value=seal(entry.key, entry.value))
            if entry.key.startswith(self._prefixes)
            else entry
            for entry in batch.puts
        ]
        log = [
            changed(row, seal) if row.key.startswith(self._prefixes) else row for row in batch.log
        ]
        self._engine.write(replace(batch, puts=puts, log=log))

    def size_bytes(self) -> int:
        """Return the bytes of the data on disk."""
        return self._engine.size_bytes()

    def close(self) -> None:
        """Release the files."""
        self._engine.close()

    @property
    def stale(self) -> int:
        """The number of values read so far that `seal` has yet to renew."""
        return len(self._stale_entries) + len(self._stale_rows)

    @property
    def is_finished(self) -> bool:
        """Whether everything on disk has the newest form; raises EngineFailed."""
        return not self.stale and self._engine.form() == self._transformer.form

    def begin(self) -> None:
        """Mark the store as mixed before values of the newest form are written; raises EngineFailed."""
        if self._engine.form() not in (MIXED, self._transformer.form):
            self._engine.set_form(MIXED)

    def seal(self, limit: int = SEALED_ROWS) -> int:
        """Rewrite at most `limit` stale values in the newest form; return the number of entries among them.

        No revision changes, so no watch sees it. After EngineFailed the values are still stale.
        """
        keys = [self._stale_entries[at] for at in range(min(limit, len(self._stale_entries)))]
        rows = [self._stale_rows[at] for at in range(min(limit - len(keys), len(self._stale_rows)))]
        count = self._engine.rewrite(keys, rows, self._transformer.renew)
        for _ in keys:
            self._stale_entries.popleft()
        for _ in rows:
            self._stale_rows.popleft()
        return count

    def finish(self) -> bool:
        """Compact the file, so that free pages hold no older form, and mark it; False: another process reads the file.

        Raises EngineFailed.
        """
        assert not self.stale, "all is sealed before"
        if not self._engine.compact():
            return False
        self._engine.set_form(self._transformer.form)
        return True

    def rewrite(self) -> int:
        """Rewrite all values in the newest form; return the number of entries rewritten. Raises EngineFailed.

        Only for a store that no server uses.
        """
        self.begin()
        self._stale_entries.clear()
        self._stale_rows.clear()
        for _ in (*self.entries(), *self.log()):
            pass
        count = 0
        while self.stale:
            count += self.seal()
        return count


class PlainEngine:
    """An engine whose values are plain; raises EncryptionFailed for sealed values, whose keys are missing."""

    def __init__(self, engine: Rewritable, missing: Path) -> None:
        """`missing` is the path of the absent key file, for the error."""
        self._engine = engine
        self._missing = missing
        self.revision = engine.revision
        self.write = engine.write
        self.size_bytes = engine.size_bytes
        self.close = engine.close

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries; raises EncryptionFailed."""
        for entry in self._engine.entries():
            if entry.value.startswith(PREFIX):
                self._refuse(entry.key)
            yield entry

    def log(self) -> Iterator[Logged]:
        """Yield the undo log; raises EncryptionFailed."""
        for row in self._engine.log():
            if any(value.startswith(PREFIX) for value in _values(row)):
                self._refuse(row.key)
            yield row
        if self._engine.form():  # from now on values are written plain
            self._engine.set_form("")

    def _refuse(self, key: str) -> None:
        raise EncryptionFailed(
            f"cannot open {key}: it is encrypted, and the key file {self._missing} does not exist"
        )


def over(engine: Rewritable, path: Path, randomness: Randomness, *, wanted: bool) -> Engine:
    """Return an encrypted engine if it is `wanted` or the key file exists, else a plain one. Blocks.

    An existing key file stays in use, since values sealed with it must be readable. Raises EncryptionFailed.
    """
    if not (wanted or path.exists()):
        return PlainEngine(engine, path)
    if not path.exists() and engine.form():
        raise EncryptionFailed(
            f"cannot open the store: Secrets in it are encrypted, and the key file {path} does not exist"
        )
    if not wanted:
        log.info("Secrets stay encrypted, for the key file is there", extra={"path": str(path)})
    sealed = EncryptedEngine(engine, Transformer(ensure_keys(path, randomness)))
    sealed.begin()
    return sealed


def _values(row: Logged) -> Iterator[bytes]:
    if row.replaced is not None:
        yield row.replaced[0]
    if row.final is not None:
        yield row.final[0]


def _form(key: Key) -> str:
    """Return the mark for a key; it contains a hash, so two keys of one name differ."""
    return f"aesgcm:{key.name}:{hashlib.sha256(_secret(key)).hexdigest()[:16]}"


def read_keys(path: Path) -> Keys:
    """Read a key file; raises EncryptionFailed, also if others than the owner may read it. Blocks."""
    try:
        content, exposure = read_with_exposure(path)
        if others := exposure.readers():
            raise EncryptionFailed(
                f"cannot use {path}: others may read it, {others} (its mode must be 0600)"
            )
        return msgspec.json.decode(content, type=Keys)
    except FileNotFoundError as error:
        raise EncryptionFailed(f"cannot use {path}: it does not exist") from error
    except (OSError, msgspec.DecodeError) as error:
        raise EncryptionFailed(f"cannot use {path}: {error}") from error


def ensure_keys(path: Path, randomness: Randomness) -> Keys:
    """Read the key file, or create it with a first key; raises EncryptionFailed, OSError. Blocks."""
    if not path.exists():
        _write(path, Keys((_new_key(1, randomness),)))
    return read_keys(path)


def rotate_keys(path: Path, randomness: Randomness) -> Keys:
    """Prepend a new key; `EncryptedEngine.rewrite` then renews all values with it. Raises as `ensure_keys`. Blocks."""
    keys = read_keys(path)
    number = 1 + max(int(key.name.removeprefix("key")) for key in keys.keys)
    _write(path, Keys((_new_key(number, randomness), *keys.keys)))
    return read_keys(path)


def retire_keys(path: Path) -> Keys:
    """Remove all keys but the newest, once no value on disk needs them. Raises as `ensure_keys`. Blocks."""
    _write(path, Keys(read_keys(path).keys[:1]))
    return read_keys(path)


def merge_keys(path: Path, others: Path) -> Keys:
    """Add the keys of another file, which a store that comes here needs; the first key stays the first.

    A key of another file replaces one of the same name, for the store that used that one goes. Raises
    EncryptionFailed, OSError. Blocks.
    """
    theirs = read_keys(others).keys
    named = {key.name for key in theirs}
    ours = read_keys(path).keys if path.exists() else ()
    _write(path, Keys((*(key for key in ours if key.name not in named), *theirs)))
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
