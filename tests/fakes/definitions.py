"""Custom resource definitions as a server stores them, for tests of their controllers."""

from typing import Any

from msgspec.structs import replace

from fakes.fake_client import FakeClient
from kubelite.api.kinds.apiextensions import (
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion,
    CustomResourceValidation,
    JSONSchemaProps,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.definition_status import begin_deletion


def defined(
    plural: str,
    *,
    group: str = "example.com",
    schema: JSONSchemaProps | None = None,
    served: bool = True,
    annotations: dict[str, str] | None = None,
    **names: Any,
) -> CustomResourceDefinition:
    """Return a definition as a client creates it, its defaults set."""
    kind = names.pop("kind", plural.capitalize())
    kinds = CustomResourceDefinitionNames(
        plural=plural,
        singular=names.pop("singular", kind.lower()),
        kind=kind,
        listKind=names.pop("listKind", f"{kind}List"),
        **names,
    )
    version = CustomResourceDefinitionVersion(
        name="v1",
        served=served,
        storage=True,
        schema=CustomResourceValidation(openAPIV3Schema=schema or JSONSchemaProps(type="object")),
    )
    return CustomResourceDefinition(
        metadata=ObjectMeta(name=f"{plural}.{group}", annotations=annotations or {}),
        spec=CustomResourceDefinitionSpec(
            group=group, names=kinds, scope="Namespaced", versions=[version]
        ),
    )


def stored(client: FakeClient, name: str) -> CustomResourceDefinition | None:
    """Return the definition that the client holds."""
    found: CustomResourceDefinition | None = client.whole(CustomResourceDefinition).get(name)
    return found


def told(client: FakeClient, name: str) -> dict[str, tuple[str, str, str]]:
    """Return status, reason and message of a definition's conditions by type."""
    definition = stored(client, name)
    assert definition is not None
    return {
        each.type: (each.status, each.reason, each.message) for each in definition.status.conditions
    }


async def delete(client: FakeClient, name: str) -> None:
    """Begin the deletion of a definition as the server does."""
    definition = stored(client, name)
    assert definition is not None
    fields = to_wire(definition)
    begin_deletion(fields, client.clock.now())
    metadata = replace(definition.metadata, finalizers=fields["metadata"]["finalizers"])
    await client.update(replace(definition, metadata=metadata))
    conditions = {"conditions": fields["status"]["conditions"]}
    await client.patch(CustomResourceDefinition, name, {"status": conditions}, subresource="status")
    await client.delete(CustomResourceDefinition, name)
