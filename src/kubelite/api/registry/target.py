"""What a request is about, and the errors that name it."""

from msgspec import Struct

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import AlreadyExists, Conflict, InternalError
from kubelite.api.machinery import causes
from kubelite.api.registry.deletion import conflict
from kubelite.api.registry.resources import Resource

ATTEMPTS_MAX = 100  # of a write that others keep getting in the way of


class Target(Struct, frozen=True):
    """What a request is about: the row that was asked for, and the one its objects are stored as."""

    allowed: Allowed
    resource: Resource
    canonical: Resource

    @property
    def namespace(self) -> str:
        """The namespace of the path."""
        return self.allowed.attributes.namespace

    @property
    def name(self) -> str:
        """The name of the path; empty for a collection."""
        return self.allowed.attributes.name

    @property
    def subresource(self) -> str:
        """The subresource of the path."""
        return self.allowed.attributes.subresource

    @property
    def key(self) -> str:
        """Where the object is stored."""
        return self.canonical.key(self.namespace, self.name)


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    """Return the error for a name that is taken."""
    return AlreadyExists(
        f"{resource.group_resource} {causes.quoted(name)} already exists",
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def no_name_left(resource: Resource, name: str) -> AlreadyExists:
    """Return the error for names that were made up and all were taken."""
    return AlreadyExists(
        f"{resource.group_resource} {causes.quoted(name)} already exists, the server was not able to "
        "generate a unique name for the object",
        group=resource.group,
        kind=resource.plural,
        name=name,
        retry_after_seconds=1,
    )


def precondition_failed(resource: Resource, name: str, wanted: str, actual: str = "") -> Conflict:
    """Return the error for an object that is not the one that was meant."""
    return conflict(
        resource,
        name,
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}",
    )


def busy(target: Target) -> InternalError:
    """Return the error for a write that others got in the way of too often."""
    return InternalError(
        f"cannot write {target.resource.group_resource} {causes.quoted(target.name)}: "
        f"other writes came first {ATTEMPTS_MAX} times"
    )
