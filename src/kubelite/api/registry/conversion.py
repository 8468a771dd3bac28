"""Conversions between what is stored and what a row serves.

A write is carried out in one version: what admission, rules and managed fields see. That is the stored version for
built-in kinds, as the internal version of Kubernetes is, and the version of the request for custom resources.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from kubelite.api.machinery.schema import Schema

JSON = dict[str, Any]


class Conversion(Protocol):
    """Converts the objects of a storage to the version of one row, and back.

    Objects are dicts of the caller's own, which are changed or consumed.
    """

    @property
    def waits(self) -> bool:
        """Whether another server converts, so that `read` and `write` cannot be called; `convert` always can."""
        ...

    @property
    def works_as_served(self) -> bool:
        """Whether a write is carried out in the served version instead of the stored one."""
        ...

    def is_needed(self, revision: int) -> bool:
        """Return whether the bytes that were stored at `revision` are not what is served."""
        ...

    def read(self, stored: JSON) -> JSON:
        """Convert a stored object to the served version."""
        ...

    def write(self, served: JSON) -> JSON:
        """Convert a served object to the stored version."""
        ...

    async def read_all(self, stored: Sequence[JSON]) -> Sequence[JSON]:
        """Convert stored objects to the served version; raises InternalError if the other server fails."""
        ...

    async def write_all(self, served: Sequence[JSON]) -> Sequence[JSON]:
        """Convert served objects to the stored version; raises InternalError if the other server fails."""
        ...

    def schema_of(self, api_version: str) -> Schema | None:
        """Return the schema of another version; None if there is no such version."""
        ...

    async def convert_all(self, served: Sequence[JSON], api_version: str) -> Sequence[JSON]:
        """Convert served objects to another version; raises InternalError if the other server fails."""
        ...


class Struct:
    """A conversion between two built-in versions, by code of our own; the base of those in `views`."""

    waits = False
    works_as_served = False

    def is_needed(self, revision: int) -> bool:
        """Return True: the versions always differ."""
        del revision
        return True

    def read(self, stored: JSON) -> JSON:
        """Convert a stored object to the served version."""
        raise NotImplementedError

    def write(self, served: JSON) -> JSON:
        """Convert a served object to the stored version."""
        raise NotImplementedError

    async def read_all(self, stored: Sequence[JSON]) -> Sequence[JSON]:
        """Convert stored objects to the served version."""
        return [self.read(one) for one in stored]

    async def write_all(self, served: Sequence[JSON]) -> Sequence[JSON]:
        """Convert served objects to the stored version."""
        return [self.write(one) for one in served]

    def schema_of(self, api_version: str) -> Schema | None:
        """Return None: writes are carried out in the stored version, whatever version their managers name."""
        del api_version
        return None

    async def convert_all(self, served: Sequence[JSON], api_version: str) -> Sequence[JSON]:
        """Return the objects, as no other version is known."""
        del api_version
        return served
