"""Makes the rows of custom resources from their definitions, and keeps the table in step with the stored definitions.

A definition is served once its condition Established is true, under the names that its status has accepted. What is
costly (the schema, its constraints) is read from the stored definition at its first use, so a definition that nobody
uses costs little more than its bytes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace

from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import names
from kubelite.api.machinery.columns.custom import custom_layout
from kubelite.api.machinery.field_selectors import METADATA, NAME_ONLY, Fields, paths
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.versions import version_priority
from kubelite.api.registry.custom_conversion import CustomConversion, WebhookConversion
from kubelite.api.registry.hooks import Hooks
from kubelite.api.registry.objects import revision_of
from kubelite.api.registry.resource import STANDARD, Resource, Subresource
from kubelite.api.registry.rules.embedded_metadata import embedded_metadata
from kubelite.api.registry.rules.sets import Rules, Warnings
from kubelite.api.registry.rules.warnings.custom import unqualified_finalizers
from kubelite.api.registry.strategies.custom import CustomStrategy
from kubelite.api.registry.strategy import Conduct
from kubelite.api.registry.subresources.scale import CustomScale
from kubelite.api.registry.table import ResourceTable
from kubelite.store.protocol import Change, Store

if TYPE_CHECKING:
    from kubelite.api.machinery.shaping.custom import CustomShape

log = logging.getLogger(__name__)

CHANGE = ("get", "patch", "update")
# What discovery lists while a definition is deleted; objects can still be changed, such as to end their finalizers.
TERMINATING = tuple(verb for verb in STANDARD if verb not in ("create", "patch", "update"))
RULES = Rules(name=names.dns_subdomain)
WARNINGS = Warnings(unqualified_finalizers, unqualified_finalizers)
NULL = Raw(b"null")


class Names(Struct, rename="camel"):
    """The names of a resource, as a definition's status has accepted them."""

    plural: str = ""
    singular: str = ""
    kind: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class Condition(Struct):
    """A condition of a definition."""

    type: str = ""
    status: str = ""


class ScalePaths(Struct, rename="camel"):
    """Where a custom resource has what its Scale shows."""

    spec_replicas_path: str = ""
    status_replicas_path: str = ""
    label_selector_path: str = ""


class Subresources(Struct, rename="camel"):
    """The subresources of a version."""

    status: Raw = NULL
    scale: ScalePaths | None = None


class Selectable(Struct, rename="camel"):
    """A field that selectors may name."""

    json_path: str = ""


class Version(Struct, rename="camel"):
    """A version of a definition. The schema stays encoded."""

    name: str
    served: bool = False
    storage: bool = False
    deprecated: bool = False
    deprecation_warning: str | None = None
    schema: Raw = NULL
    subresources: Subresources = field(default_factory=Subresources)
    additional_printer_columns: list[dict[str, Any]] = []
    selectable_fields: tuple[Selectable, ...] = ()


class Conversion(Struct, rename="camel"):
    """How a definition's objects get from one version to another."""

    strategy: str = "None"
    webhook: Raw = NULL


class Spec(Struct, rename="camel"):
    """What is wanted of a definition."""

    group: str
    scope: str
    versions: list[Version]
    conversion: Conversion = field(default_factory=Conversion)
    preserve_unknown_fields: bool = False


class Status(Struct, rename="camel"):
    """What was observed of a definition."""

    accepted_names: Names = field(default_factory=Names)
    conditions: list[Condition] | None = None  # null until the first is known


class Metadata(Struct, rename="camel"):
    """When the deletion of a definition began; "": it has not."""

    deletion_timestamp: str = ""


class Definition(Struct):
    """A stored CustomResourceDefinition, as far as its rows depend on it."""

    spec: Spec
    status: Status = field(default_factory=Status)
    metadata: Metadata = field(default_factory=Metadata)

    def is_true(self, condition: str) -> bool:
        """Return whether a condition is true."""
        return any(
            one.type == condition and one.status == "True" for one in self.status.conditions or ()
        )

    @property
    def is_served(self) -> bool:
        """Whether requests for its objects are answered."""
        return self.is_true("Established") and bool(self.status.accepted_names.plural)

    @property
    def is_ending(self) -> bool:
        """Whether no objects may be made any more.

        Its condition Terminating alone does not say so: it turns false when the last object is gone, a moment before
        the definition, and what were made then would be left behind.
        """
        return bool(self.metadata.deletion_timestamp) or self.is_true("Terminating")


_decode = msgspec.json.Decoder(Definition).decode


class Rows(Struct):
    """The rows that one definition makes, and what they were made of."""

    group: str
    served: Sequence[Resource]
    made_of: bytes  # all that the rows depend on, but for `is_ending`
    fresh_from: int  # objects stored after this revision were stored under this schema
    is_ending: bool = False


NO_ROWS = Rows("", (), b"", 0)


def rows_of(value: bytes, before: Rows = NO_ROWS, hooks: Hooks | None = None) -> Rows:
    """Return the rows of a stored definition; those made `before`, if nothing that they depend on has changed."""
    definition = _decode(value)
    if not definition.is_served:
        return Rows(definition.spec.group, (), b"", 0)
    made_of = msgspec.json.encode([definition.spec, definition.status.accepted_names])
    rows = before
    if made_of != before.made_of or before.is_ending > definition.is_ending:
        maker = _Maker(definition, revision_of(value), hooks)
        rows = Rows(definition.spec.group, maker.rows(), made_of, maker.fresh_from)
    if definition.is_ending and not rows.is_ending:
        return replace(rows, served=_ending(rows.served), is_ending=True)
    return rows


def _ending(rows: Sequence[Resource]) -> Sequence[Resource]:
    """Return rows that show the same objects, but create none."""
    ending: dict[Resource, Resource] = {}
    for row in (*(one.canonical for one in rows[:1]), *rows):
        strategy = CustomStrategy(row.strategy.conduct, ending=(row.plural, row.group))
        stored_as = None if row.stored_as is None else ending[row.stored_as]
        ending[row] = replace(row, listed_verbs=TERMINATING, strategy=strategy, stored_as=stored_as)
    return [ending[row] for row in rows]


class _Maker:
    """Makes the rows of one definition."""

    def __init__(self, definition: Definition, revision: int, hooks: Hooks | None) -> None:
        self.definition = definition
        self.fresh_from = revision
        self._hooks = hooks
        self._versions = sorted(
            definition.spec.versions, key=lambda one: version_priority(one.name)
        )
        self._shapes = {one.name: self._shape(one) for one in self._versions}

    def rows(self) -> Sequence[Resource]:
        """Return the rows of the served versions, the preferred one first."""
        versions = sorted(self.definition.spec.versions, key=lambda one: version_priority(one.name))
        stored = next(one for one in versions if one.storage)
        canonical = self._row(stored, stored, None)
        return [
            canonical if one is stored else self._row(one, stored, canonical)
            for one in versions
            if one.served
        ]

    def _gvk(self, version: Version) -> GroupVersionKind:
        spec, accepted = self.definition.spec, self.definition.status.accepted_names
        return GroupVersionKind(spec.group, version.name, accepted.kind)

    def _shape(self, version: Version) -> "CustomShape":
        from kubelite.api.machinery.shaping.custom import CustomShape

        return CustomShape(
            schema_of(version),
            self._gvk(version),
            preserve_unknown=self.definition.spec.preserve_unknown_fields,
            metadata_rules=embedded_metadata,
        )

    def _row(self, version: Version, stored: Version, canonical: Resource | None) -> Resource:
        spec, accepted = self.definition.spec, self.definition.status.accepted_names
        gvk, namespaced = self._gvk(version), spec.scope == "Namespaced"
        selectable = [one.json_path.removeprefix(".") for one in version.selectable_fields]
        subresources = dict(self._subresources(version, gvk))
        return Resource(
            group=spec.group,
            version=version.name,
            plural=accepted.plural,
            singular=accepted.singular,
            kind=gvk,
            list_kind=accepted.list_kind,
            type=None,
            namespaced=namespaced,
            listed_verbs=STANDARD,
            short_names=accepted.short_names,
            categories=accepted.categories,
            subresources=subresources,
            storage=f"{accepted.plural}.{spec.group}",
            shape=self._shapes[version.name],
            rules=RULES,
            warnings=WARNINGS,
            strategy=CustomStrategy(
                Conduct(
                    has_status="status" in subresources, counts_generation=True, conditional=True
                )
            ),
            layout=custom_layout(version.additional_printer_columns),
            fields=Fields({**(METADATA if namespaced else NAME_ONLY), **paths(*selectable)}),
            stored_as=canonical,
            conversion=self._conversion(version, stored),
            openapi=CustomType(
                kind=gvk,
                list_kind=accepted.list_kind,
                source=schema_of(version),
                preserve_unknown=spec.preserve_unknown_fields,
                selectable_fields=tuple(selectable),
            ),
            deprecation=_deprecation(version, gvk, self._versions),
        )

    def _subresources(
        self, version: Version, gvk: GroupVersionKind
    ) -> Iterable[tuple[str, Subresource]]:
        found = version.subresources
        if found.status != NULL:
            yield "status", Subresource("status", CHANGE, gvk)
        if (scale := found.scale) is not None:
            projection = CustomScale(
                scale.spec_replicas_path, scale.status_replicas_path, scale.label_selector_path
            )
            yield "scale", Subresource("scale", CHANGE, Scale.gvk, projection=projection)

    def _conversion(self, version: Version, stored: Version) -> CustomConversion:
        conversion = self.definition.spec.conversion
        webhook = None
        if conversion.strategy == "Webhook" and conversion.webhook != NULL:
            webhook = WebhookConversion(msgspec.json.decode(conversion.webhook), self._hooks)
        return CustomConversion(
            self._gvk(version),
            self._gvk(stored),
            self._shapes,
            fresh_from=self.fresh_from,
            webhook=webhook,
        )


def schema_of(version: Version) -> Callable[[], dict[str, Any]] | None:
    """Return a function that decodes the schema of a version; None if it has none."""
    raw = bytes(version.schema)
    if not (msgspec.json.decode(raw) or {}).get("openAPIV3Schema"):
        return None

    def decoded() -> dict[str, Any]:
        schema: dict[str, Any] = msgspec.json.decode(raw)["openAPIV3Schema"]
        return schema

    return decoded


def _deprecation(version: Version, gvk: GroupVersionKind, versions: Sequence[Version]) -> str:
    """Return the warning about a version; `versions` are all, the preferred one first."""
    if not version.deprecated:
        return ""
    if version.deprecation_warning is not None:
        return version.deprecation_warning
    text = f"{gvk.api_version} {gvk.kind} is deprecated"
    for better in versions:
        if better is version:
            break
        if better.served and not better.deprecated:
            return f"{text}; use {gvk.group}/{better.name} {gvk.kind}"
    return text


class CustomResources:
    """Follows the stored definitions and keeps their rows in the table."""

    def __init__(self, store: Store, table: ResourceTable, hooks: Hooks | None = None) -> None:
        """`hooks` asks a webhook to convert objects; without it such conversions fail."""
        self._store = store
        self._table = table
        self._hooks = hooks
        self._rows: dict[str, Rows] = {}  # by the key of the definition
        self._prefix = table.of(CustomResourceDefinition).prefix
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Make the rows of all definitions, and follow their changes."""
        groups = set()
        for entry in self._store.list(self._prefix).entries:
            groups |= self._changed(entry.key, entry.value)
        self._tell(groups)
        self._unsubscribe = self._store.subscribe(self._prefix, self._follow)

    def stop(self) -> None:
        """Stop following the definitions."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _follow(self, changes: Sequence[Change]) -> None:
        groups = set()
        for change in changes:
            groups |= self._changed(change.key, None if change.deleted else change.value)
        self._tell(groups)

    def _changed(self, key: str, value: bytes | None) -> set[str]:
        """Note the rows of a definition (None: it is gone); return the groups whose rows have changed."""
        before = self._rows.get(key, NO_ROWS)
        after = NO_ROWS
        if value is not None:
            try:
                after = rows_of(value, before, self._hooks)
            except (msgspec.DecodeError, ValueError, StopIteration) as error:
                # It was valid when it was stored, so an older or newer server has stored it.
                log.warning("definition not served", extra={"key": key, "reason": str(error)})
        if after is before:
            return set()
        if after.served:
            self._rows[key] = after
        else:
            self._rows.pop(key, None)
        return {one.group for one in (before, after) if one.served}

    def _tell(self, groups: set[str]) -> None:
        for group in sorted(groups):
            made = (rows for _, rows in sorted(self._rows.items()) if rows.group == group)
            self._table.replace(group, [row for rows in made for row in rows.served])
