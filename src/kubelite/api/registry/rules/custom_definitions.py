"""Rules of CustomResourceDefinitions, apart from those within their schemas.

Source: apiextensions-apiserver's validation. Its errors speak of the form it uses inside: what all versions share
(schema, subresources, columns, selectable fields) stands in the spec itself, and a conversion webhook's settings stand
in `spec.conversion`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.machinery import causes, names
from kubelite.api.machinery.api_approval import APPROVED_ANNOTATION, approval, is_protected
from kubelite.api.machinery.schema_patterns import SchemaPatterns
from kubelite.api.machinery.schema_walk import (
    conversion_error,
    has_defaults,
    has_extensions,
    has_rules,
    version_schemas,
)
from kubelite.api.machinery.structural_schemas import structural_causes
from kubelite.api.registry.rules.custom_conversions import conversion
from kubelite.api.registry.rules.custom_expressions import ExpressionRules
from kubelite.api.registry.rules.custom_schema_values import (
    GO_NAMES,
    internal_schema,
    internal_version,
)
from kubelite.api.registry.rules.custom_schemas import Strictness, openapi_causes
from kubelite.api.registry.rules.custom_versions import (
    columns,
    deprecation,
    scale_paths,
    selectable,
)
from kubelite.api.registry.rules.schema_defaults import default_causes
from kubelite.api.registry.rules.values import JSON, Out, items, one_of, part

# What the root of a schema may have where the status is a subresource, so that its schema can be taken out.
_AT_ROOT = (
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
)
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Leniency(Struct, frozen=True):
    """What an update may leave wrong, since it was before."""

    without_schemas: bool = False
    not_structural: bool = False
    strictness: Strictness = Strictness()
    unknown_review_versions: bool = False
    bad_ca_bundle: bool = True  # before the definition is established its webhook is not called
    many_selectable: frozenset[str] = (
        frozenset()
    )  # versions with too many selectable fields; "" for all
    unchanged_schemas: frozenset[str] = frozenset()  # versions whose rules may cost what they did


class _SchemaRules(Struct, frozen=True):
    """What the schemas of one definition are checked by."""

    strictness: Strictness
    structural: bool
    patterns: SchemaPatterns


class _Shared(Struct, frozen=True):
    """Which fields of all versions are equal, so that errors name them without a version."""

    schema: bool
    subresources: bool
    columns: bool
    selectable: bool


def custom_definition(thing: JSON) -> Out:
    """Check a new CustomResourceDefinition."""
    out = Out()
    _object_name(out, thing, part(thing, "spec"))
    definition_causes(out, thing, Leniency())
    approval_causes(out, thing, None)
    if part(thing, "spec").get("preserveUnknownFields"):
        unknown_fields_kept(out)
    return out


def definition_causes(out: Out, thing: JSON, leniency: Leniency) -> None:
    """Check the whole of a definition; approval and kept unknown fields depend on the old one."""
    spec = part(thing, "spec")
    _group(out, spec.get("group", ""))
    one_of(out, "spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    _versions(out, spec, leniency)
    kinds = part(spec, "names")
    for field in ("plural", "singular", "kind", "listKind"):
        if not kinds.get(field):
            out.append(causes.required(f"spec.names.{field}"))
    kind_names(out, kinds, "spec.names")
    given = spec.get("conversion")
    if given is not None:
        if spec.get("preserveUnknownFields") and given.get("strategy", "") != "None":
            detail = "must be None if spec.preserveUnknownFields is true"
            out.append(
                causes.invalid("spec.conversion.strategy", given.get("strategy", ""), detail)
            )
        conversion(
            out,
            given,
            recognized=not leniency.unknown_review_versions,
            bad_ca_bundle=leniency.bad_ca_bundle,
        )
    status_causes(out, thing)
    _stored_versions(out, thing)


def status_causes(out: Out, thing: JSON) -> None:
    """Check the accepted names."""
    kind_names(out, part(thing, "status", "acceptedNames"), "status.acceptedNames")


def unknown_fields_kept(out: Out) -> None:
    """Reject `preserveUnknownFields`."""
    detail = (
        "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
        "spec.versions[*].schema instead"
    )
    out.append(causes.invalid("spec.preserveUnknownFields", True, detail))


def approval_causes(out: Out, thing: JSON, old: JSON | None) -> None:
    """Require that a group of Kubernetes itself names its approval; one that did not before need not."""
    if not is_protected(part(thing, "spec").get("group", "")):
        return
    annotations = part(thing, "metadata", "annotations")
    state, reason = approval(annotations)
    if old is not None and approval(part(old, "metadata", "annotations"))[0] == state:
        return
    path = f"metadata.annotations[{APPROVED_ANNOTATION}]"
    if state == "missing":
        out.append(causes.required(path, reason))
    elif state == "invalid":
        out.append(causes.invalid(path, annotations[APPROVED_ANNOTATION], reason))


def _object_name(out: Out, thing: JSON, spec: JSON) -> None:
    wanted = f"{part(spec, 'names').get('plural', '')}.{spec.get('group', '')}"
    for field in ("name", "generateName"):
        name = part(thing, "metadata").get(field, "")
        if name and name != wanted:
            detail = 'must be spec.names.plural+"."+spec.group'
            out.append(causes.invalid(f"metadata.{field}", name, detail))


def _group(out: Out, group: str) -> None:
    if not group:
        out.append(causes.required("spec.group"))
    elif wrong := names.dns_subdomain(group):
        out.append(causes.invalid("spec.group", group, ",".join(wrong)))
    elif "." not in group:
        detail = "should be a domain with at least one dot"
        out.append(causes.invalid("spec.group", group, detail))


def kind_names(out: Out, kinds: JSON, path: str) -> None:
    """Check the names that are given."""
    for field in ("plural", "singular"):
        value = kinds.get(field, "")
        if value and (wrong := names.dns_1035_label(value)):
            out.append(causes.invalid(f"{path}.{field}", value, ",".join(wrong)))
    for field in ("kind", "listKind"):
        value = kinds.get(field, "")
        if value and (wrong := names.dns_1035_label(value.lower())):
            detail = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
            out.append(causes.invalid(f"{path}.{field}", value, detail))
    for field in ("shortNames", "categories"):
        for index, value in enumerate(items(kinds, field)):
            if wrong := names.dns_1035_label(value):
                out.append(causes.invalid(f"{path}.{field}[{index}]", value, ",".join(wrong)))
    if kinds.get("kind") and kinds.get("kind") == kinds.get("listKind"):
        detail = "kind and listKind may not be the same"
        out.append(causes.invalid(f"{path}.listKind", kinds["listKind"], detail))


def _shared(versions: Sequence[JSON]) -> _Shared:
    return _Shared(
        schema=_is_shared(versions, "schema"),
        subresources=_is_shared(versions, "subresources"),
        columns=_is_shared(versions, "additionalPrinterColumns"),
        selectable=_is_shared(versions, "selectableFields"),
    )


def _is_shared(versions: Sequence[JSON], field: str) -> bool:
    """Return whether all versions have one value; encoded, since Python takes 1 and true for equal."""
    if not versions:
        return False
    first = versions[0].get(field)
    if any(version.get(field) != first for version in versions[1:]):
        return False
    encoded = _encode_sorted(first) if len(versions) > 1 else b""
    return all(_encode_sorted(version.get(field)) == encoded for version in versions[1:])


def _versions(out: Out, spec: JSON, leniency: Leniency) -> None:
    versions = items(spec, "versions")
    shared = _shared(versions)
    structural = not (leniency.not_structural and spec.get("preserveUnknownFields"))
    schemas = [schema for _, schema in version_schemas({"spec": spec})]
    if shared.schema:
        schemas = schemas[:1]
    _missing_schemas(out, spec, versions, leniency)
    if spec.get("preserveUnknownFields"):
        if any(map(has_defaults, schemas)):
            structural = True
            detail = "must be false in order to use defaults in the schema"
            out.append(causes.invalid("spec.preserveUnknownFields", True, detail))
        structural = structural or any(map(has_extensions, schemas))
    rules = _SchemaRules(leniency.strictness, structural, SchemaPatterns())
    for index, version in enumerate(versions):
        _version(out, f"spec.versions[{index}]", version, shared, leniency, rules)
    _version_list(out, spec, versions, shared)
    if versions:
        _shared_fields(out, versions, shared, leniency, rules)


def _missing_schemas(out: Out, spec: JSON, versions: Sequence[JSON], leniency: Leniency) -> None:
    detail = ""
    if leniency.without_schemas:
        if spec.get("preserveUnknownFields"):
            return
        detail = "because otherwise all fields are pruned"
    for index, version in enumerate(versions):
        if leniency.without_schemas and not version.get("served"):
            continue
        if part(version, "schema").get("openAPIV3Schema") is None:
            at = f"spec.versions[{index}].schema.openAPIV3Schema"
            out.append(causes.required(at, detail))


def _version(
    out: Out,
    path: str,
    version: JSON,
    shared: _Shared,
    leniency: Leniency,
    rules: _SchemaRules,
) -> None:
    name = version.get("name", "")
    if wrong := names.dns_1035_label(name):
        out.append(causes.invalid(f"{path}.name", name, ",".join(wrong)))
    deprecation(out, path, version)
    if not shared.schema:
        with_status = part(version, "subresources").get("status") is not None
        limits_each = name not in leniency.unchanged_schemas
        _schema(out, f"{path}.schema", version, with_status, rules, limits_each=limits_each)
    if not shared.subresources:
        scale_paths(out, f"{path}.subresources", version)
    if not shared.columns:
        columns(out, f"{path}.additionalPrinterColumns", version)
    if not shared.selectable:
        may_be_many = name in leniency.many_selectable
        given = not shared.schema
        selectable(out, path, version, given=given, top=False, may_be_many=may_be_many)


def _shared_fields(
    out: Out, versions: Sequence[JSON], shared: _Shared, leniency: Leniency, rules: _SchemaRules
) -> None:
    first = versions[0]
    if shared.schema:
        with_status = any(
            part(version, "subresources").get("status") is not None for version in versions
        )
        limits_each = first.get("name", "") not in leniency.unchanged_schemas
        _schema(out, "spec.validation", first, with_status, rules, limits_each=limits_each)
    if shared.subresources:
        scale_paths(out, "spec.subresources", first)
    if shared.columns:
        columns(out, "spec.additionalPrinterColumns", first)
    if shared.selectable:
        may_be_many = "" in leniency.many_selectable
        selectable(out, "spec", first, given=shared.schema, top=True, may_be_many=may_be_many)


def _version_list(out: Out, spec: JSON, versions: Sequence[JSON], shared: _Shared) -> None:
    seen = {version.get("name", "") for version in versions}
    wrong = []
    if len(seen) < len(versions):
        wrong.append("must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        wrong.append("must have exactly one version marked as storage version")
    if wrong:
        quoted = _quoted_versions(spec, versions, shared)
        for detail in wrong:
            out.append(causes.invalid("spec.versions", quoted, detail))
    first = versions[0].get("name", "") if versions else ""
    if first and (found := names.dns_1035_label(first)):
        out.append(causes.invalid("spec.version", first, ",".join(found)))


def _quoted_versions(spec: JSON, versions: Sequence[JSON], shared: _Shared) -> Any:
    hidden = {
        name
        for name, is_shared in (
            ("schema", shared.schema),
            ("subresources", shared.subresources),
            ("additionalPrinterColumns", shared.columns),
            ("selectableFields", shared.selectable),
        )
        if is_shared
    }
    if not versions:
        return spec.get("versions")
    return [
        internal_version({name: version[name] for name in version.keys() - hidden})
        for version in versions[:_QUOTED_VERSIONS]
    ]


_QUOTED_VERSIONS = 64  # more do not fit into the longest text that an error quotes


def _schema(
    out: Out,
    path: str,
    version: JSON,
    with_status: bool,
    rules: _SchemaRules,
    *,
    limits_each: bool,
) -> None:
    """Check the schema of one version or of all; `path` is that of its `openAPIV3Schema`'s parent.

    `limits_each` says whether the estimated cost of each rule has a limit.
    """
    schema = part(version, "schema").get("openAPIV3Schema")
    if schema is None:
        return
    before, at = len(out), f"{path}.openAPIV3Schema"
    if with_status:
        _root_with_status(out, at, schema)
    if schema.get("nullable"):
        out.append(causes.forbidden(f"{at}.nullable", "nullable cannot be true at the root"))
    unconvertible, expressions = conversion_error(schema), None
    strictness = rules.strictness
    if rules.structural and not unconvertible:
        wrong = structural_causes(at, schema, rules.patterns)
        out.extend(wrong)
        if not wrong:
            wrong = default_causes(at, schema, pruned=strictness.pruned_defaults)
            out.extend(wrong)
        if not wrong and has_rules(schema):
            expressions = ExpressionRules(limits_each=limits_each)
    out.extend(
        openapi_causes(at, schema, strictness, checks_paths=not unconvertible, rules=expressions)
    )
    if expressions is not None:
        out.extend(expressions.causes)
        out.extend(expressions.total_causes(at))
    if rules.structural and unconvertible and len(out) == before:
        out.append(causes.invalid(at, "", unconvertible))


def _root_with_status(out: Out, path: str, schema: JSON) -> None:
    for field, name in GO_NAMES.items():
        if field not in schema:
            continue
        if field == "type" and schema["type"] != "object":
            detail = (
                'only "object" is allowed as the type at the root of the schema if the status '
                "subresource is enabled"
            )
            out.append(causes.invalid(f"{path}.type", schema["type"], detail))
            return
        if name not in _AT_ROOT:
            detail = (
                f"only [{' '.join(_AT_ROOT)}] fields are allowed at the root of the schema if the "
                "status subresource is enabled"
            )
            out.append(causes.invalid(path, internal_schema(schema), detail))
            return


_STORED = (
    "missing from spec.versions; {0} was previously a storage version, and must remain in "
    "spec.versions until a storage migration ensures no data remains persisted in {0} and removes "
    "{0} from status.storedVersions"
)


def _stored_versions(out: Out, thing: JSON) -> None:
    path, stored = "status.storedVersions", items(part(thing, "status"), "storedVersions")
    if not stored:
        out.append(causes.invalid(path, None, "must have at least one stored version"))
        return
    versions = items(part(thing, "spec"), "versions")
    for version in versions:
        name = version.get("name", "")
        if version.get("storage") and name not in stored:
            out.append(causes.invalid(path, stored, f"must have the storage version {name}"))
    known = {version.get("name", "") for version in versions}
    for name, index in {name: index for index, name in enumerate(stored)}.items():
        if name not in known:
            out.append(causes.invalid(f"{path}[{index}]", name, _STORED.format(causes.cut(name))))
