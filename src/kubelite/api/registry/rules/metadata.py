"""Rules of ObjectMeta, for every kind."""

from collections.abc import Callable

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.values import JSON, Out, format_check, immutable, items, part

ANNOTATIONS_LIMIT_BYTES = 256 * 1024
NameRule = Callable[[str], tuple[str, ...]]
_MANAGER_LIMIT = 128
_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"
STANDARD_FINALIZERS = frozenset(("kubernetes", _ORPHAN, _FOREGROUND))


def metadata(out: Out, thing: JSON, check_name: NameRule, *, namespaced: bool) -> None:
    """Check the metadata of an object that is to be stored."""
    meta = part(thing, "metadata")
    if prefix := meta.get("generateName"):
        masked = names.masked_prefix(prefix)
        for finding in check_name(masked):
            out.append(causes.invalid("metadata.generateName", prefix, finding))
    name = meta.get("name")
    if not name:
        out.append(causes.required("metadata.name", "name or generateName is required"))
    else:
        for finding in check_name(name):
            out.append(causes.invalid("metadata.name", name, finding))
    _namespace(out, meta, namespaced=namespaced)
    if (meta.get("generation") or 0) < 0:
        detail = "must be greater than or equal to 0"
        out.append(causes.invalid("metadata.generation", meta["generation"], detail))
    if found := meta.get("labels"):
        labels.labels(out, "metadata.labels", found)
    if found := meta.get("annotations"):
        annotations(out, "metadata.annotations", found)
    if meta.get("ownerReferences"):
        _owners(out, meta)
    if meta.get("finalizers"):
        _finalizers(out, meta)
    if meta.get("managedFields"):
        _managers(out, meta)


def _namespace(out: Out, meta: JSON, *, namespaced: bool) -> None:
    namespace = meta.get("namespace")
    if not namespaced:
        if namespace:
            out.append(causes.forbidden("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        out.append(causes.required("metadata.namespace"))
    else:
        format_check(out, "metadata.namespace", namespace, names.dns_label)


def annotations(out: Out, path: str, values: JSON | None) -> None:
    """Check keys and the total size of annotations."""
    size = 0
    for key, value in (values or {}).items():
        for finding in names.qualified_name(key.lower()):
            out.append(causes.invalid(path, key, finding))
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_LIMIT_BYTES:
        out.append(causes.too_long(path, ANNOTATIONS_LIMIT_BYTES))


def _owners(out: Out, meta: JSON) -> None:
    path, controller = "metadata.ownerReferences", ""
    references = meta["ownerReferences"]
    for owner in references:
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        kind, name = owner.get("kind", ""), owner.get("name", "")
        if not version:
            detail = "version must not be empty"
            out.append(causes.invalid(f"{path}.apiVersion", owner.get("apiVersion", ""), detail))
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                out.append(causes.invalid(f"{path}.{field}", "", "must not be empty"))
        if kind == "Event" and not group:
            detail = "/v1, Kind=Event is disallowed from being an owner"
            out.append(causes.invalid(path, owner, detail))
        if owner.get("controller"):
            if controller:
                detail = (
                    'Only one reference can have Controller set to true. Found "true" in references '
                    f"for {controller} and {kind}/{name}"
                )
                out.append(causes.invalid(path, references, detail))
            else:
                controller = f"{kind}/{name}"


def _finalizers(out: Out, meta: JSON) -> None:
    path, found = "metadata.finalizers", meta["finalizers"]
    for finalizer in found:
        format_check(out, path, finalizer, names.qualified_name)
    if _ORPHAN in found and _FOREGROUND in found:
        detail = f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set"
        out.append(causes.invalid(path, found, detail))


def finalizer_names(out: Out, new: JSON, old: JSON | None) -> None:
    """Reject unknown finalizers without a domain; those an object has already may stay."""
    before = frozenset(items(part(old or {}, "metadata"), "finalizers"))
    for index, name in enumerate(items(part(new, "metadata"), "finalizers")):
        if "/" not in name and name not in STANDARD_FINALIZERS and name not in before:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            out.append(causes.invalid(f"metadata.finalizers[{index}]", name, detail))


def _managers(out: Out, meta: JSON) -> None:
    for index, entry in enumerate(meta["managedFields"]):
        path = f"metadata.managedFields[{index}]"
        if entry.get("operation") not in ("Apply", "Update"):
            detail = "must be `Apply` or `Update`"
            out.append(causes.invalid(f"{path}.operation", entry.get("operation", ""), detail))
        if entry.get("fieldsType") not in (None, "", "FieldsV1"):
            detail = "must be `FieldsV1`"
            out.append(causes.invalid(f"{path}.fieldsType", entry["fieldsType"], detail))
        if len(entry.get("manager") or "") > _MANAGER_LIMIT:
            out.append(causes.too_long(f"{path}.manager", _MANAGER_LIMIT))
        if len(entry.get("subresource") or "") > 256:
            out.append(causes.too_long(f"{path}.subresource", 256))


def metadata_update(out: Out, new: JSON, old: JSON) -> None:
    """Check the metadata that an update may not change."""
    after, before = part(new, "metadata"), part(old, "metadata")
    if before.get("deletionTimestamp"):
        extra = sorted(set(items(after, "finalizers")) - set(items(before, "finalizers")))
        if extra:
            listed = ", ".join(causes.quoted(name) for name in extra)
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            out.append(causes.forbidden("metadata.finalizers", detail))
    if (after.get("generation") or 0) < (before.get("generation") or 0):
        detail = "must not be decremented"
        out.append(causes.invalid("metadata.generation", after.get("generation") or 0, detail))
    for field in (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ):
        if after.get(field) != before.get(field):
            immutable(out, f"metadata.{field}", after.get(field), before.get(field))
