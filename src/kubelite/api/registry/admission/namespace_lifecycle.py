"""NamespaceLifecycle: no object is created in a missing or terminating namespace."""

from typing import ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import Cause, NotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.admission.refusal import forbidden, is_main
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.resource import Resource
from kubelite.store.protocol import Check

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
REVIEWS = frozenset(
    {"localsubjectaccessreviews"}
)  # an error would reveal whether the namespace exists


class NamespaceLifecycle:
    """Rejects requests by the state of their namespace."""

    name: ClassVar = "NamespaceLifecycle"

    def __init__(self, lookup: Lookup, namespaces: Resource) -> None:
        """`namespaces` is the row of Namespaces."""
        self._lookup = lookup
        self._namespaces = namespaces

    async def mutate(self, request: AdmissionRequest) -> None:
        """Check the namespace before other plugins work on the object; raises NotFound or Forbidden."""
        if is_main(request, "namespaces"):
            if request.operation is Verb.DELETE and request.attributes.name in IMMORTAL:
                raise forbidden(request, "this namespace may not be deleted")
            return
        name = request.attributes.namespace
        if not name or request.operation is Verb.DELETE or request.resource.plural in REVIEWS:
            return
        namespace = self._lookup.get(Namespace, name)
        if namespace is None:
            raise NotFound(f'namespaces "{name}" not found', kind="namespaces", name=name)
        if request.operation is Verb.CREATE and namespace.status.phase == "Terminating":
            raise forbidden(
                request,
                f"unable to create new content in namespace {name} because it is being terminated",
                [
                    Cause(
                        "metadata.namespace",
                        "NamespaceTerminating",
                        f"namespace {name} is being terminated",
                    )
                ],
            )
        if request.operation is Verb.CREATE:
            # Later plugins may wait, and the namespace may be emptied and deleted meanwhile, so check it at the commit.
            key = self._namespaces.key("", name)
            request.checks.append(Check(key, int(namespace.metadata.resourceVersion)))
