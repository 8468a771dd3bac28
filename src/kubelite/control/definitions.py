"""CustomResourceDefinitions as their controllers see them: without schemas, which take most of the memory."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from kubelite.api.kinds.apiextensions import (
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import ATOMIC, Kind, Model, to_wire

DEFINITIONS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")


class DefinedVersion(Model):
    """A version without its schema."""

    name: str = ""
    served: bool = False
    storage: bool = False


class DefinitionSpec(Model):
    """What the controllers read of a definition's spec."""

    group: str = ""
    names: CustomResourceDefinitionNames = CustomResourceDefinitionNames()
    versions: Annotated[list[DefinedVersion], ATOMIC] = []
    conversion: CustomResourceConversion | None = None


class Definition(Kind):
    """A CustomResourceDefinition without schemas; to be patched, since an update would drop them."""

    gvk: ClassVar = CustomResourceDefinition.gvk

    metadata: ObjectMeta = ObjectMeta()
    spec: DefinitionSpec = DefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()


def conditions_of(definition: Definition) -> Sequence[dict[str, Any]]:
    """Return the conditions in wire form."""
    return [to_wire(each) for each in definition.status.conditions]


def status_patch(definition: Definition, **status: Any) -> dict[str, Any]:
    """Return the merge patch that writes fields of the status, unless the definition changed."""
    metadata = definition.metadata
    return {
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resourceVersion},
        "status": status,
    }
