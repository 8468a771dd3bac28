"""Which group versions other servers answer for, and in which order groups and versions are listed.

Both follow the APIServices. While none has a Service, a request costs one look at an empty mapping, and what passes
requests on (`aggregation`) is neither made nor imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import NotFound
from kubelite.api.http.request import RequestPath
from kubelite.api.kinds.apiregistration import APIService
from kubelite.api.machinery.versions import version_priority

if TYPE_CHECKING:
    from kubelite.api.http.aggregation.aggregation import Aggregation

AVAILABLE = "Available"
DEFAULT_PORT = 443
# The first of all groups, above the greatest priority that an APIService may ask for. It is never delegated, since an
# APIService that replaced it could not be removed again.
OWN_GROUP, OWN_PRIORITY = "apiregistration.k8s.io", 20_001
FIRST_PRIORITY = 18_000.0  # of the first built-in group
CUSTOM_PRIORITY = 1000  # of groups of custom resources
BELOW = 0.001  # what follows another group without a priority of its own


class ServiceKey(Struct, frozen=True):
    """The Service and port behind which another API server runs."""

    namespace: str
    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name that the server's certificate must have."""
        return f"{self.name}.{self.namespace}.svc"


class ShownCertificate(Struct, frozen=True):
    """The front proxy's client certificate, by which other API servers know that headers name the caller."""

    serial_number: int  # changes with each renewal
    pair: Path  # the file with key and certificates


class Registration(Struct, frozen=True):
    """What an APIService says of a group version, without what changes nothing here."""

    name: str
    group: str
    version: str
    group_priority: int
    version_priority: int
    service: ServiceKey | None = None  # None: this server answers
    ca_bundle: str = ""  # base64 of PEM
    skips_verification: bool = False
    is_available: bool = True

    @property
    def path(self) -> str:
        """The path of the group version without the leading slash."""
        return f"apis/{self.group}/{self.version}"


def registration_of(api_service: APIService) -> Registration:
    """Return what an APIService registers."""
    spec = api_service.spec
    service = None
    if spec.service is not None and spec.group not in ("", OWN_GROUP):
        port = DEFAULT_PORT if spec.service.port is None else spec.service.port
        service = ServiceKey(spec.service.namespace, spec.service.name, port)
    return Registration(
        name=api_service.metadata.name,
        group=spec.group,
        version=spec.version,
        group_priority=spec.groupPriorityMinimum,
        version_priority=spec.versionPriority,
        service=service,
        ca_bundle=spec.caBundle if service else "",
        skips_verification=service is not None and spec.insecureSkipTLSVerify,
        is_available=service is None or is_available(api_service),
    )


def is_available(api_service: APIService) -> bool:
    """Return whether the condition Available is True."""
    conditions = api_service.status.conditions
    return any(one.type == AVAILABLE and one.status == "True" for one in conditions)


class Delegation:
    """The registered group versions."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        """Without `lookup` nothing is ever registered."""
        # Changes with each change of order, of what is listed, or of what other servers say of themselves.
        self.generation = 0
        self.remote: dict[tuple[str, str], Registration] = {}  # by group and version
        self.aggregation: Aggregation | None = (
            None  # None until another server answers for a group version
        )
        self.lookup = lookup
        self._make: Callable[[], Aggregation] | None = None
        self._groups: dict[str, dict[str, Registration]] = {}  # by group and version

    def follow(self, make: Callable[[], Aggregation]) -> None:
        """Follow the APIServices; `make` is called once another server answers for one."""
        self._make = make
        if self.lookup is not None:
            self.lookup.subscribe(APIService, self._changed)

    def find(self, target: RequestPath) -> Registration | None:
        """Return who answers a request; None: this server."""
        attributes = target.attributes
        if target.is_resource:
            return self.remote.get((attributes.group, attributes.version))
        match attributes.path.strip("/").split("/"):
            case ["apis", group, version]:
                return self.remote.get((group, version))
            case _:
                return None

    def registered(self, group: str) -> Sequence[Registration]:
        """Return the registrations of a group in the order of discovery."""
        return sorted(self._groups.get(group, {}).values(), key=_version_order)

    def groups(self) -> Sequence[str]:
        """Return the names of all groups with a registration."""
        return tuple(self._groups)

    def priorities(self, local: Sequence[tuple[str, bool]]) -> Mapping[str, tuple[float, str]]:
        """Return the sort key of each group, by name.

        `local` has the groups that this server serves in their own order, and whether each has custom resources alone.
        One without an APIService stays behind the group before it.
        """
        keys: dict[str, tuple[float, str]] = {}
        last = FIRST_PRIORITY
        for name, custom in local:
            registered = self._groups.get(name, {}).values()
            if name == OWN_GROUP:
                keys[name] = (-float(OWN_PRIORITY), name)
                continue
            if registered:
                last = float(max(one.group_priority for one in registered))
            else:
                last = CUSTOM_PRIORITY if custom else last - BELOW
            keys[name] = (-last, name)
        for name in self._groups.keys() - keys.keys():
            highest = max(one.group_priority for one in self._groups[name].values())
            keys[name] = (-float(highest), name)
        return keys

    def _changed(self, before: APIService | None, after: APIService | None) -> None:
        old = registration_of(before) if before is not None else None
        new = registration_of(after) if after is not None else None
        if old == new:
            return
        for gone in (old,) if old is not None else ():
            self.remote.pop((gone.group, gone.version), None)
            versions = self._groups.get(gone.group, {})
            versions.pop(gone.version, None)
            if not versions:
                self._groups.pop(gone.group, None)
        if new is not None:
            self._groups.setdefault(new.group, {})[new.version] = new
            if new.service is not None:
                self.remote[new.group, new.version] = new
        self.generation += 1
        self._tell(old, new)

    def _tell(self, old: Registration | None, new: Registration | None) -> None:
        concerned = [one for one in (old, new) if one is not None and one.service is not None]
        if not concerned:
            return
        self.opened().changed(old, new)

    def opened(self) -> Aggregation:
        """Return what passes requests on; make it if that is not done yet."""
        if self.aggregation is None:
            assert self._make is not None, "the APIServices are followed first"
            self.aggregation = self._make()
        return self.aggregation

    def serves(self, group: str, version: str) -> bool:
        """Return whether another server answers for a group version."""
        return (group, version) in self.remote

    async def read(self, group: str, version: str, path: str, caller: Caller) -> bytes:
        """Return the body of the answer to a GET on behalf of a caller inside this process. Raises APIError."""
        registration = self.remote.get((group, version))
        if registration is None:
            raise NotFound("the server could not find the requested resource")
        return await self.opened().read(registration, path, caller)

    async def close(self) -> None:
        """End what passes requests on."""
        if self.aggregation is not None:
            await self.aggregation.close()


class APIServiceProbe:
    """Finds out for the controller of availability whether the server of an APIService answers."""

    def __init__(self, delegation: Delegation) -> None:
        self._delegation = delegation

    async def probe(self, service: APIService) -> str:
        """Return why the server does not answer for its group version, in Kubernetes' words; "" if it does."""
        return await self._delegation.opened().probe(registration_of(service))


def _version_order(registration: Registration) -> tuple[int, tuple[int, int, int, int, str]]:
    return -registration.version_priority, version_priority(registration.version)
