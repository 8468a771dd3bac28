"""Rules of what versions of a custom resource have beside their schema: columns, subresources, selectable fields."""

from kubelite.api.machinery import causes
from kubelite.api.machinery.schema_paths import InvalidPath, resolve_path
from kubelite.api.machinery.schema_walk import conversion_error
from kubelite.api.registry.rules.values import JSON, Out, items, part

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE_TYPES = ("string", "boolean", "integer")
SELECTABLE_FIELDS = 8  # the most that one version may have
WARNING_LENGTH = 256


def deprecation(out: Out, path: str, version: JSON) -> None:
    """Check the warning of a deprecated version."""
    text = version.get("deprecationWarning")
    if text is None:
        return
    at = f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        out.append(causes.invalid(at, text, "can only be set for deprecated versions"))
        return
    if len(text.encode()) > WARNING_LENGTH:
        out.append(causes.invalid(at, text, f"must be <= {WARNING_LENGTH} characters long"))
    if not text:
        out.append(causes.invalid(at, text, "must not be an empty string"))
    odd = next((index for index, letter in enumerate(text) if not letter.isprintable()), None)
    if odd is not None:
        detail = (
            "must only contain printable UTF-8 characters; non-printable character found at "
            f"index {len(text[:odd].encode())}"
        )
        out.append(causes.invalid(at, text, detail))


def columns(out: Out, path: str, version: JSON) -> None:
    """Check the printer columns; their paths are only required to begin with a dot, as upstream."""
    for index, column in enumerate(items(version, "additionalPrinterColumns")):
        at, kind, form = f"{path}[{index}]", column.get("type", ""), column.get("format", "")
        if not column.get("name"):
            out.append(causes.required(f"{at}.name"))
        detail = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not kind:
            out.append(causes.required(f"{at}.type", detail))
        elif kind not in _COLUMN_TYPES:
            out.append(causes.invalid(f"{at}.type", kind, detail))
        if form and form not in _COLUMN_FORMATS:
            detail = f"must be one of {','.join(_COLUMN_FORMATS)}"
            out.append(causes.invalid(f"{at}.format", form, detail))
        _simple_path(out, f"{at}.JSONPath", column.get("jsonPath", ""))


def _simple_path(out: Out, path: str, text: str, *roots: str, detail: str = "") -> None:
    """Require a path that begins with a dot, and with one of `roots` if there are any."""
    if not text:
        out.append(causes.required(path))
    elif not text.startswith("."):
        out.append(causes.invalid(path, text, "must be a simple json path starting with ."))
    elif roots and not text.startswith(roots):
        out.append(causes.invalid(path, text, detail))


def scale_paths(out: Out, path: str, version: JSON) -> None:
    """Check where the subresource `scale` finds its values."""
    scale = part(version, "subresources").get("scale")
    if scale is None:
        return
    for field, root in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        detail = f"should be a json path under {root}"
        _simple_path(out, f"{path}.scale.{field}", scale.get(field, ""), f"{root}.", detail=detail)
    if selector := scale.get("labelSelectorPath"):
        detail = "should be a json path under either .spec or .status"
        at = f"{path}.scale.labelSelectorPath"
        _simple_path(out, at, selector, ".spec.", ".status.", detail=detail)


def selectable(
    out: Out, path: str, version: JSON, *, given: bool, top: bool, may_be_many: bool
) -> None:
    """Check the selectable fields of one version, or of all (`top`); `given`: the schema stands beside them."""
    fields = items(version, "selectableFields")
    if not fields:
        return
    schema = part(version, "schema").get("openAPIV3Schema") if given else None
    at = f"{path}.selectableFields"
    if schema is None:
        detail = (
            "may only be set when validations.schema is included"
            if top
            else "may only be set when `version.schema.openAPIV3Schema` is not included"
        )
        out.append(causes.invalid(at, "", detail))
        return
    if error := conversion_error(schema):
        own = f"{path}.schema.openAPIV3Schema"
        out.append(causes.invalid(own, "", error))
        return
    seen: set[tuple[tuple[str, bool], ...]] = set()
    for index, field in enumerate(fields):
        _selectable_field(out, f"{at}[{index}].jsonPath", field.get("jsonPath", ""), schema, seen)
    if len(seen) > SELECTABLE_FIELDS and not may_be_many:
        out.append(causes.too_many(at, len(seen), SELECTABLE_FIELDS))


def _selectable_field(
    out: Out, path: str, text: str, schema: JSON, seen: set[tuple[tuple[str, bool], ...]]
) -> None:
    if not text:
        out.append(causes.required(path))
        return
    try:
        steps, reached = resolve_path(text, schema, brackets=False)
    except InvalidPath as error:
        out.append(causes.invalid(path, text, f"is an invalid path: {error}"))
        return
    if steps[0][0] == "metadata":
        out.append(causes.invalid(path, text, "must not point to fields in metadata"))
    if reached is None or reached.get("type") not in _SELECTABLE_TYPES:
        detail = (
            "must point to a field of type string, boolean or integer. Enum string fields and "
            "strings with formats are allowed."
        )
        out.append(causes.invalid(path, text, detail))
    if steps in seen:
        out.append(causes.duplicate(path, text))
    seen.add(steps)
