"""Rules of changes of CustomResourceDefinitions.

Source: apiextensions-apiserver. What names the storage cannot change, and what an old definition already broke is not
blamed on an update.
"""

from collections.abc import Callable

from kubelite.api.machinery.ca_bundles import ca_bundle_error
from kubelite.api.machinery.causes import TooManyCauses
from kubelite.api.machinery.schema_patterns import SchemaPatterns
from kubelite.api.machinery.schema_walk import (
    conversion_error,
    has_defaults,
    nested_schemas,
    version_schemas,
)
from kubelite.api.machinery.structural_schemas import structural_causes
from kubelite.api.registry.rules.custom_conversions import has_known_review_version
from kubelite.api.registry.rules.custom_definitions import (
    Leniency,
    approval_causes,
    definition_causes,
    status_causes,
    unknown_fields_kept,
)
from kubelite.api.registry.rules.custom_schemas import (
    TYPES,
    Strictness,
    list_key_causes,
    wrong_set_items,
)
from kubelite.api.registry.rules.custom_versions import SELECTABLE_FIELDS
from kubelite.api.registry.rules.schema_defaults import default_causes
from kubelite.api.registry.rules.values import JSON, Out, immutable, items, part


def custom_definition_update(new: JSON, old: JSON) -> Out:
    """Check a changed CustomResourceDefinition."""
    out = Out()
    after, before = part(new, "spec"), part(old, "spec")
    is_established = _is_established(old)
    if not _is_sound(new):  # else nothing is wrong that the old definition could excuse
        definition_causes(out, new, _leniency(new, old, is_established=is_established))
    kinds, old_kinds = part(after, "names"), part(before, "names")
    if is_established:
        immutable(out, "spec.scope", after.get("scope", ""), before.get("scope", ""))
        immutable(out, "spec.names.kind", kinds.get("kind", ""), old_kinds.get("kind", ""))
    immutable(out, "spec.group", after.get("group", ""), before.get("group", ""))
    immutable(out, "spec.names.plural", kinds.get("plural", ""), old_kinds.get("plural", ""))
    approval_causes(out, new, old)
    if after.get("preserveUnknownFields") and not before.get("preserveUnknownFields"):
        unknown_fields_kept(out)
    return out


def custom_definition_status_update(new: JSON, _: JSON) -> Out:
    """Check a changed status: the accepted names alone."""
    out = Out()
    status_causes(out, new)
    return out


def _is_sound(definition: JSON) -> bool:
    out = Out()
    try:
        definition_causes(out, definition, Leniency(bad_ca_bundle=False))
    except TooManyCauses:
        return False
    return not out


def _is_established(definition: JSON) -> bool:
    return any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in items(part(definition, "status"), "conditions")
    )


def _leniency(new: JSON, old: JSON, *, is_established: bool) -> Leniency:
    """Return what the old definition excuses. Schemas that did not change are not looked at for it again."""
    spec = part(old, "spec")
    schemas = [schema for _, schema in version_schemas(old)]
    given = spec.get("conversion") or {}
    patterns = SchemaPatterns()
    bundle = part(given, "webhook", "clientConfig").get("caBundle", "")
    return Leniency(
        without_schemas=len(schemas) < len(items(spec, "versions")),
        not_structural=any(_is_not_structural(schema, patterns) for schema in schemas),
        strictness=Strictness(
            types=not _any(schemas, lambda each: (each.get("type") or "object") not in TYPES),
            atomic_sets=not _any(schemas, lambda each: wrong_set_items(each) is not None),
            pruned_defaults=not any(_has_unknown_defaults(schema, patterns) for schema in schemas),
            list_keys=not _any(schemas, lambda each: bool(list_key_causes("", each))),
        ),
        unknown_review_versions=not has_known_review_version(given),
        bad_ca_bundle=not is_established or bool(ca_bundle_error(bundle)),
        many_selectable=_many_selectable(new, old),
        unchanged_schemas=_unchanged(new, old),
    )


def _unchanged(new: JSON, old: JSON) -> frozenset[str]:
    """Return the versions whose schema is the old one."""
    before = {
        version.get("name", ""): version.get("schema")
        for version in items(part(old, "spec"), "versions")
    }
    return frozenset(
        name
        for version in items(part(new, "spec"), "versions")
        if (name := version.get("name", "")) in before and before[name] == version.get("schema")
    )


def _any(schemas: list[JSON], test: Callable[[JSON], bool]) -> bool:
    return any(test(each) for schema in schemas for each in nested_schemas(schema))


def _is_not_structural(schema: JSON, patterns: SchemaPatterns) -> bool:
    try:
        return bool(conversion_error(schema) or structural_causes("", schema, patterns))
    except TooManyCauses:
        return True


def _has_unknown_defaults(schema: JSON, patterns: SchemaPatterns) -> bool:
    """Return whether a structural schema has a default that is wrong for its unknown fields alone."""
    if not has_defaults(schema) or _is_not_structural(schema, patterns):
        return False
    return _count(schema, pruned=True) > _count(schema, pruned=False)


def _count(schema: JSON, *, pruned: bool) -> int:
    try:
        return len(default_causes("", schema, pruned=pruned))
    except TooManyCauses as error:
        return len(error.found)


def _many_selectable(new: JSON, old: JSON) -> frozenset[str]:
    """Return the versions whose selectable fields were too many before and did not change; "" for all at once."""
    fields = [
        {
            version.get("name", ""): items(version, "selectableFields")
            for version in items(part(definition, "spec"), "versions")
        }
        for definition in (new, old)
    ]
    after, before = fields
    kept = {
        name
        for name, selectable in after.items()
        if len(before.get(name, ())) > SELECTABLE_FIELDS and before[name] == selectable
    }
    return frozenset({*kept, ""} if kept and kept == after.keys() == before.keys() else kept)
