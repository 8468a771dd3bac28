"""NamespaceLifecycle: nothing is created in a namespace that is missing or going away."""

from typing import ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import Cause, NotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.admission.refusal import forbidden, is_main
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.builtin import CORE
from kubelite.store.protocol import Check

NAMESPACES = next(row for row in CORE if row.plural == "namespaces")
IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
REVIEWS = frozenset({"localsubjectaccessreviews"})  # saying more would tell that a namespace exists


class NamespaceLifecycle:
    """Refuses by the state of the namespace."""

    name: ClassVar = "NamespaceLifecycle"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Refuse early, before others spend work; raises NotFound or Forbidden."""
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
            # Others may wait before this write is committed, and the namespace be emptied and gone by then.
            key = NAMESPACES.key("", name)
            request.checks.append(Check(key, int(namespace.metadata.resourceVersion)))
