"""What the handlers of subresources and of resources that are not stored get: the services of the API."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from kubelite.api.auth.reviews import Reviews
from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.registry.answers import Written
from kubelite.api.registry.deleting import Deleter
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.table import ResourceTable
from kubelite.api.registry.target import Target
from kubelite.api.registry.writing import Writer

Issue = Callable[[str, str, TokenRequest], TokenRequest]  # namespace, name, request
Probe = Callable[[], str]  # returns an error text; "": healthy


FetchSummary = Callable[[str], Awaitable[bytes]]  # of a node, by name; raises APIError


class UsageMetrics(Protocol):
    """What nodes and pods use, as objects of metrics.k8s.io."""

    async def nodes(self) -> Sequence[dict[str, Any]]:
        """Return the NodeMetrics of all nodes."""
        ...

    async def pods(self, namespace: str) -> Sequence[dict[str, Any]]:
        """Return the PodMetrics of a namespace, "": of all."""
        ...


class Services(Struct, frozen=True):
    """The services of one API server."""

    writer: Writer
    deleter: Deleter
    resources: ResourceTable
    issue: Issue | None = None  # makes the tokens of service accounts
    reviews: Reviews | None = None
    probes: Mapping[str, Probe] = {}  # of the components, by name
    metrics: Callable[[], UsageMetrics] | None = None  # None where metrics.k8s.io is not served


# Answers a POST to a subresource, or to a resource that is not stored.
Post = Callable[[Services, Target, dict[str, Any], WriteOptions], Awaitable[Written]]
# Lists the objects of a namespace ("": of all) of a resource that is computed and not stored.
ListComputed = Callable[[Services, str], Awaitable[Sequence[dict[str, Any]]]]
