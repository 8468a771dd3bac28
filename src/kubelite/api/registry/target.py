"""The target of a request, and the errors that name it."""

from msgspec import Struct

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import AlreadyExists, Conflict, InternalError
from kubelite.api.machinery import causes
from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.deletion import conflict
from kubelite.api.registry.resource import Post, Projection, Resource

ATTEMPTS_MAX = 100  # of a write that loses the race to concurrent writes


class Target(Struct, frozen=True):
    """The authorized request, the row of its path, and the row of the storage version."""

    allowed: Allowed
    resource: Resource
    canonical: Resource
    is_step: bool = False  # of a request that admission has judged as a whole

    @property
    def working(self) -> Resource:
        """The row in whose version a write is carried out: what strategies, admission and rules see."""
        conversion = self.resource.conversion
        as_served = conversion is not None and conversion.works_as_served
        return self.resource if as_served else self.canonical

    @property
    def view(self) -> Conversion | None:
        """The conversion of a body to the version that the write is carried out in; None: it is in that version."""
        conversion = self.resource.conversion
        return None if conversion is None or conversion.works_as_served else conversion

    @property
    def namespace(self) -> str:
        """The namespace of the path; "" for a cluster-scoped path."""
        return self.allowed.attributes.namespace

    @property
    def name(self) -> str:
        """The name of the path; empty for a collection."""
        return self.allowed.attributes.name

    @property
    def subresource(self) -> str:
        """The subresource of the path; "" for the object itself."""
        return self.allowed.attributes.subresource

    @property
    def post(self) -> Post | None:
        """The handler of a POST to the path; None: it creates an object."""
        if not self.subresource:
            return self.resource.post
        return self.resource.subresources[self.subresource].post

    @property
    def projection(self) -> Projection | None:
        """The form in which the path shows the object; None: its own."""
        found = self.resource.subresources.get(self.subresource)
        return None if found is None else found.projection

    @property
    def key(self) -> str:
        """The store key of the object."""
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
    """Return the error for a generateName whose generated names were all taken."""
    return AlreadyExists(
        f"{resource.group_resource} {causes.quoted(name)} already exists, the server was not able to "
        "generate a unique name for the object",
        group=resource.group,
        kind=resource.plural,
        name=name,
        retry_after_seconds=1,
    )


def precondition_failed(
    resource: Resource, namespace: str, name: str, wanted: str, actual: str = ""
) -> Conflict:
    """Return the error for an object with another uid than the request names."""
    return conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {_etcd_key(resource, namespace, name)}, "
        "ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: "
        f"{wanted}, UID in object meta: {actual}",
    )


# Resources whose objects Kubernetes stores under another name than theirs.
_ETCD_NAMES = {
    "endpoints": "services/endpoints",
    "ingresses": "ingress",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
}
_BY_GROUP = ("apiextensions.k8s.io", "apiregistration.k8s.io")


def _etcd_key(resource: Resource, namespace: str, name: str) -> str:
    """Return the key of an object in the etcd of Kubernetes, which its errors quote."""
    plural = _ETCD_NAMES.get(resource.plural, resource.plural)
    if resource.type is None or resource.group in _BY_GROUP:
        plural = f"{resource.group}/{resource.plural}"
    return "/".join(("/registry", plural, *((namespace,) if namespace else ()), name))


def busy(target: Target) -> InternalError:
    """Return the error for a write that lost the race to concurrent writes `ATTEMPTS_MAX` times."""
    return InternalError(
        f"cannot write {target.resource.group_resource} {causes.quoted(target.name)}: "
        f"other writes came first {ATTEMPTS_MAX} times"
    )
