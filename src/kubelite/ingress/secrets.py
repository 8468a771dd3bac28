"""The Secrets and ConfigMaps with certificates that others name, followed one by one: no others are read."""

from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.ingress.plan import SecretKey

CERTIFICATE, KEY = "tls.crt", "tls.key"


K = TypeVar("K", Secret, ConfigMap)


class Followed(NamedTuple, Generic[K]):
    """An object that is followed."""

    mirror: Mirror[K]
    end: Callable[[], None]


class ObjectsByName(Generic[K]):
    """Follows objects of one kind; the client needs rights to those names only."""

    def __init__(self, client: Client, kind: type[K], changed: Callable[[], None]) -> None:
        self._client = client
        self._kind: type[K] = kind
        self._changed = changed
        self._followed: dict[SecretKey, Followed[K]] = {}

    def follow(self, wanted: Iterable[SecretKey]) -> bool:
        """Follow these and no others; False if the right to one is missing as yet, so that it is to be tried again."""
        keys = set(wanted)
        for key in self._followed.keys() - keys:
            self._drop(key)
        is_whole = True
        for key in sorted(keys - self._followed.keys()):
            try:
                self._begin(key)
            except APIError:
                is_whole = False
        return is_whole

    def _begin(self, key: SecretKey) -> None:
        namespace, name = key
        mirror = self._client.mirror(self._kind, namespace, field_selector=f"metadata.name={name}")
        unsubscribe = mirror.subscribe(lambda *_: self._changed())
        self._followed[key] = Followed(mirror, unsubscribe)

    def _drop(self, key: SecretKey) -> None:
        followed = self._followed.pop(key)
        followed.end()
        followed.mirror.close()

    async def synced(self) -> None:
        """Wait until the followed objects have been read for the first time."""
        for followed in tuple(self._followed.values()):
            await followed.mirror.synced()

    def get(self, key: SecretKey) -> K | None:
        """Return an object; None if there is none."""
        followed = self._followed.get(key)
        namespace, name = key
        return followed.mirror.get(name, namespace) if followed is not None else None

    def close(self) -> None:
        """Follow none."""
        for key in list(self._followed):
            self._drop(key)


class CertificateSecrets(ObjectsByName[Secret]):
    """Follows Secrets with certificates."""

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        super().__init__(client, Secret, changed)

    def pem(self, key: SecretKey) -> bytes | None:
        """Return chain and key of a Secret, b"" if it has none; None if there is no such Secret."""
        secret = self.get(key)
        return None if secret is None else pair_of(secret)


def pair_of(secret: Secret) -> bytes:
    """Return chain and key of a Secret in one PEM; b"" if one is missing."""
    try:
        parts = [b64decode(secret.data.get(name, "")) for name in (CERTIFICATE, KEY)]
    except ValueError:
        return b""
    return b"\n".join((*parts, b"")) if all(parts) else b""
