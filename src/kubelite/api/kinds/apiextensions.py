"""Custom resource definitions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import field

from kubelite.api.kinds.enums import RULE_REASONS
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    AbsentList,
    Base64,
    Double,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    Time,
    list_map,
    merge_by,
)


class CustomResourceColumnDefinition(Model):
    """A column that kubectl get shows for a custom resource."""

    jsonPath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    type: Annotated[str, REQUIRED] = ""
    description: str = ""
    format: str = ""
    priority: Int32 = 0


class ServiceReference(Model):
    """The service a conversion webhook runs behind."""

    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""
    path: str | None = None
    port: Int32 | None = None


class WebhookClientConfig(Model):
    """How to reach a conversion webhook."""

    caBundle: Base64 = ""
    service: ServiceReference | None = None
    url: str | None = None


class WebhookConversion(Model):
    """The webhook that converts objects between versions, and the review versions it speaks."""

    conversionReviewVersions: Annotated[list[str], REQUIRED, ATOMIC] = []
    clientConfig: WebhookClientConfig | None = None


class CustomResourceConversion(Model):
    """How objects get from one version to another: not at all, or by a webhook."""

    strategy: Annotated[str, REQUIRED] = ""
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionNames(Model):
    """What the resource and its kind are called, in all places a name is needed."""

    kind: Annotated[str, REQUIRED] = ""
    plural: Annotated[str, REQUIRED] = ""
    categories: Annotated[list[str], ATOMIC] = []
    listKind: str = ""
    shortNames: Annotated[list[str], ATOMIC] = []
    singular: str = ""


class ExternalDocumentation(Model):
    """Where more can be read."""

    description: str = ""
    url: str = ""


class ValidationRule(Model):
    """A CEL rule that values must satisfy, and what to say when they do not."""

    rule: Annotated[str, REQUIRED] = ""
    fieldPath: str = ""
    message: str = ""
    messageExpression: str = ""
    optionalOldSelf: bool | None = None
    reason: Annotated[str | None, RULE_REASONS] = None


class JSONSchemaProps(Model):
    """A JSON schema, as far as custom resources may use it."""

    ref: str | None = field(name="$ref", default=None)
    schema: str = field(name="$schema", default="")
    additionalItems: JSONSchemaProps | bool | None = None
    additionalProperties: JSONSchemaProps | bool | None = None
    allOf: Annotated[list[JSONSchemaProps], ATOMIC] = []
    anyOf: Annotated[list[JSONSchemaProps], ATOMIC] = []
    default: Any = None
    definitions: dict[str, JSONSchemaProps] = {}
    dependencies: dict[str, JSONSchemaProps | list[str]] = {}
    description: str = ""
    enum: Annotated[list[Any], ATOMIC] = []
    example: Any = None
    exclusiveMaximum: bool = False
    exclusiveMinimum: bool = False
    externalDocs: ExternalDocumentation | None = None
    format: str = ""
    id: str = ""
    items: JSONSchemaProps | list[JSONSchemaProps] | None = None
    maxItems: Int64 | None = None
    maxLength: Int64 | None = None
    maxProperties: Int64 | None = None
    maximum: Double | None = None
    minItems: Int64 | None = None
    minLength: Int64 | None = None
    minProperties: Int64 | None = None
    minimum: Double | None = None
    multipleOf: Double | None = None
    not_: JSONSchemaProps | None = field(name="not", default=None)
    nullable: bool = False
    oneOf: Annotated[list[JSONSchemaProps], ATOMIC] = []
    pattern: str = ""
    patternProperties: dict[str, JSONSchemaProps] = {}
    properties: dict[str, JSONSchemaProps] = {}
    required: Annotated[list[str], ATOMIC] = []
    title: str = ""
    type: str = ""
    uniqueItems: bool = False
    x_kubernetes_embedded_resource: bool = field(
        name="x-kubernetes-embedded-resource", default=False
    )
    x_kubernetes_int_or_string: bool = field(name="x-kubernetes-int-or-string", default=False)
    x_kubernetes_list_map_keys: Annotated[list[str], ATOMIC] = field(
        name="x-kubernetes-list-map-keys", default_factory=list
    )
    x_kubernetes_list_type: str | None = field(name="x-kubernetes-list-type", default=None)
    x_kubernetes_map_type: str | None = field(name="x-kubernetes-map-type", default=None)
    x_kubernetes_preserve_unknown_fields: bool | None = field(
        name="x-kubernetes-preserve-unknown-fields", default=None
    )
    x_kubernetes_validations: Annotated[
        list[ValidationRule], list_map("rule"), merge_by("rule")
    ] = field(name="x-kubernetes-validations", default_factory=list)


class CustomResourceValidation(Model):
    """The schema objects of a version must satisfy."""

    openAPIV3Schema: JSONSchemaProps | None = None


class SelectableField(Model):
    """A field that field selectors may name."""

    jsonPath: Annotated[str, REQUIRED] = ""


class CustomResourceSubresourceScale(Model):
    """Where scale finds its numbers and selector in an object."""

    specReplicasPath: Annotated[str, REQUIRED] = ""
    statusReplicasPath: Annotated[str, REQUIRED] = ""
    labelSelectorPath: str | None = None


class CustomResourceSubresourceStatus(Model):
    """Says that status is written on its own."""


class CustomResourceSubresources(Model):
    """Which subresources the objects have."""

    status: CustomResourceSubresourceStatus | None = None
    scale: CustomResourceSubresourceScale | None = None


class CustomResourceDefinitionVersion(Model):
    """One version of a custom resource: its schema, columns and subresources."""

    name: Annotated[str, REQUIRED] = ""
    served: Annotated[bool, REQUIRED] = False
    storage: Annotated[bool, REQUIRED] = False
    additionalPrinterColumns: Annotated[list[CustomResourceColumnDefinition], ATOMIC] = []
    deprecated: bool = False
    deprecationWarning: str | None = None
    schema: CustomResourceValidation | None = None
    selectableFields: Annotated[list[SelectableField], ATOMIC] = []
    subresources: CustomResourceSubresources | None = None


class CustomResourceDefinitionSpec(Model):
    """What is wanted of a custom resource definition."""

    group: Annotated[str, REQUIRED] = ""
    names: Annotated[CustomResourceDefinitionNames, REQUIRED] = CustomResourceDefinitionNames()
    scope: Annotated[str, REQUIRED] = ""
    versions: Annotated[AbsentList[CustomResourceDefinitionVersion], REQUIRED, ATOMIC] = []
    conversion: CustomResourceConversion | None = None
    preserveUnknownFields: bool = False


class CustomResourceDefinitionCondition(Model):
    """One aspect of a custom resource definition's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    observedGeneration: Int64 = 0
    reason: str = ""


class CustomResourceDefinitionStatus(Model):
    """What was last observed of a custom resource definition."""

    acceptedNames: CustomResourceDefinitionNames = CustomResourceDefinitionNames()
    conditions: Annotated[AbsentList[CustomResourceDefinitionCondition], list_map("type")] = []
    observedGeneration: Int64 = 0
    storedVersions: Annotated[AbsentList[str], ATOMIC] = []


class CustomResourceDefinition(Kind):
    """Adds a resource of one's own to the API."""

    gvk: ClassVar = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CustomResourceDefinitionSpec, REQUIRED] = CustomResourceDefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()


class CustomResourceDefinitionList(Kind):
    """A list of custom resource definitions."""

    gvk: ClassVar = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinitionList")

    items: Annotated[list[CustomResourceDefinition], REQUIRED] = []
    metadata: ListMeta = ListMeta()
