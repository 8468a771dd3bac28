"""Options of a request, from its query and from the body of a DELETE, validated as upstream."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from kubelite.api.errors import BadRequest, Cause, Invalid
from kubelite.api.http.request import NO_QUERY, Query, flag
from kubelite.api.machinery.json_reading import EMPTY, Reading
from kubelite.api.registry.options import (
    DeletionOptions,
    Propagation,
    ReadOptions,
    WatchOptions,
    WriteOptions,
)

FIELD_MANAGER_LENGTH_MAX = 128
FIELD_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
PROPAGATIONS: tuple[Propagation, ...] = ("Foreground", "Background", "Orphan")
INT64_MAX = 2**63 - 1
INT64_DIGITS = 19


def text(query: Query, name: str) -> str:
    """Return the first value of a parameter, "" if it is absent."""
    values = query.get(name)
    return values[0] if values else ""


def integer(query: Query, name: str) -> int | None:
    """Return a 64-bit integer parameter, None if absent or "". Raises BadRequest with Go's wording."""
    value = text(query, name)
    if not value:
        return None
    number = int64(value)
    if number is None:
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    if abs(number) > INT64_MAX:
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": value out of range')
    return number


def int64(value: str) -> int | None:
    """Parse a decimal number; None if it is none. A number of too many digits is cut, but stays beyond 64 bits."""
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not digits.isascii() or not digits.isdigit():
        return None
    digits = digits.lstrip("0")[: INT64_DIGITS + 1] or "0"  # int() rejects more than 4300 digits
    return -int(digits) if value.startswith("-") else int(digits)


def read_options(query: Query) -> ReadOptions:
    """Return the options of a get. Raises BadRequest."""
    if not query:
        return ReadOptions()
    return ReadOptions(
        resource_version=text(query, "resourceVersion"),
        resource_version_match=text(query, "resourceVersionMatch"),
        limit=integer(query, "limit") or 0,
        continue_token=text(query, "continue"),
        label_selector=text(query, "labelSelector"),
        field_selector=text(query, "fieldSelector"),
        send_initial_events=flag(query, "sendInitialEvents"),
    )


def list_options(query: Query) -> ReadOptions:
    """Return the options of a list or deletecollection. Raises BadRequest, also for a bad timeoutSeconds."""
    integer(query, "timeoutSeconds")
    return read_options(query)


def watch_options(query: Query, *, name: str = "") -> WatchOptions:
    """Return the options of a watch; `name` is that of a legacy watch of one object. Raises BadRequest."""
    field_selector = text(query, "fieldSelector")
    if name and not field_selector:
        field_selector = f"metadata.name={name}"
    return WatchOptions(
        resource_version=text(query, "resourceVersion"),
        resource_version_match=text(query, "resourceVersionMatch"),
        limit=integer(query, "limit") or 0,
        continue_token=text(query, "continue"),
        label_selector=text(query, "labelSelector"),
        field_selector=field_selector,
        timeout_seconds=integer(query, "timeoutSeconds"),
        bookmarks=bool(flag(query, "allowWatchBookmarks")),
        send_initial_events=flag(query, "sendInitialEvents"),
    )


def write_options(
    query: Query,
    kind: Literal["CreateOptions", "UpdateOptions", "PatchOptions"],
    *,
    user_agent: str = "",
    body: Reading = EMPTY,
    is_apply: bool = False,
) -> WriteOptions:
    """Return the options of a create, update or patch, whose body was `body`.

    The field manager defaults to the user agent up to the first slash. Raises Invalid with all causes.
    """
    if not query and not is_apply:
        return WriteOptions(
            field_manager=manager_of(user_agent),
            wants_warnings=True,
            duplicate_fields=body.duplicates,
            body_bytes=body.cost_bytes,
        )
    manager = text(query, "fieldManager")
    dry_run = query.get("dryRun", ())
    validation = text(query, "fieldValidation")
    force = flag(query, "force") if kind == "PatchOptions" else None
    causes: list[Cause] = []
    if is_apply and not manager:
        causes.append(_cause("fieldManager", "Required value", "is required for apply patch"))
    if force is not None and not is_apply:
        causes.append(_cause("force", "Forbidden", "may not be specified for non-apply patch"))
    causes += manager_causes(manager)
    causes += dry_run_causes(dry_run)
    if validation not in FIELD_VALIDATIONS:
        supported = ", ".join(f'"{value}"' for value in FIELD_VALIDATIONS)
        causes.append(
            _cause(
                "fieldValidation",
                "Unsupported value",
                f'"{validation}": supported values: {supported}',
            )
        )
    _refuse(kind, causes)
    return WriteOptions(
        dry_run=bool(dry_run),
        field_manager=manager or manager_of(user_agent),
        names_manager=bool(manager),
        field_validation=validation,
        force=bool(force),
        wants_warnings=True,
        duplicate_fields=body.duplicates,
        body_bytes=body.cost_bytes,
    )


def manager_of(user_agent: str) -> str:
    """Return the default field manager of a user agent: its printable part before the first slash."""
    prefix = user_agent.partition("/")[0]
    return "".join(letter for letter in prefix if letter.isprintable())[:FIELD_MANAGER_LENGTH_MAX]


def deletion_options(query: Query, body: dict[str, Any] | None) -> DeletionOptions:
    """Return the options of a delete from its `DeleteOptions` body or, without a body, from the query.

    Raises BadRequest for a field of the wrong type and Invalid with all causes.
    """
    options = body if body is not None else _options_of_query(query)
    if not options:
        return DeletionOptions()
    dry_run = _typed(options, "dryRun", list) or []
    propagation = _typed(options, "propagationPolicy", str)
    orphan = _typed(options, "orphanDependents", bool)
    grace = _typed(options, "gracePeriodSeconds", int)
    preconditions = _typed(options, "preconditions", dict) or {}
    causes: list[Cause] = []
    if orphan is not None and propagation is not None:
        causes.append(
            _cause(
                "propagationPolicy",
                "Invalid value",
                f'"{propagation}": orphanDependents and deletionPropagation cannot be both set',
            )
        )
    if propagation is not None and propagation not in PROPAGATIONS:
        supported = ", ".join(f'"{value}"' for value in (*PROPAGATIONS, "nil"))
        causes.append(
            _cause(
                "propagationPolicy",
                "Unsupported value",
                f'"{propagation}": supported values: {supported}',
            )
        )
    causes += dry_run_causes(dry_run)
    _refuse("DeleteOptions", causes)
    if propagation is None and orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    return DeletionOptions(
        grace_seconds=grace,
        propagation=propagation or "",
        uid=_typed(preconditions, "uid", str) or "",
        resource_version=_typed(preconditions, "resourceVersion", str) or "",
        dry_run=bool(dry_run),
    )


def manager_causes(manager: str) -> list[Cause]:
    """Return why a field manager is invalid; empty if it is valid."""
    if len(manager.encode()) > FIELD_MANAGER_LENGTH_MAX:
        return [
            _cause(
                "fieldManager", "Too long", f"may not be more than {FIELD_MANAGER_LENGTH_MAX} bytes"
            )
        ]
    if not all(letter.isprintable() for letter in manager):
        return [
            _cause(
                "fieldManager",
                "Invalid value",
                f'"{manager}": should only contain printable characters',
            )
        ]
    return []


def dry_run_causes(values: Sequence[str]) -> list[Cause]:
    """Return why the dryRun values are invalid; empty if they are valid."""
    if all(value == "All" for value in values):
        return []
    shown = msgspec.json.encode(list(values)).decode()
    return [_cause("dryRun", "Unsupported value", f'{shown}: supported values: "All"')]


def _options_of_query(query: Query) -> dict[str, Any]:
    if query is NO_QUERY:
        return {}
    options: dict[str, Any] = {}
    if dry_run := query.get("dryRun"):
        options["dryRun"] = list(dry_run)
    if (grace := integer(query, "gracePeriodSeconds")) is not None:
        options["gracePeriodSeconds"] = grace
    if (orphan := flag(query, "orphanDependents")) is not None:
        options["orphanDependents"] = orphan
    if propagation := text(query, "propagationPolicy"):
        options["propagationPolicy"] = propagation
    return options


def _typed(options: dict[str, Any], field: str, expected: type[Any]) -> Any:
    value = options.get(field)
    if value is None:
        return None
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise BadRequest(
            f"json: cannot unmarshal {_json_name(value)} into Go struct field DeleteOptions.{field}"
        )
    return value


def _json_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "bool", int: "number"}
    return names.get(type(value), "number")


REASONS = {
    "Required value": "FieldValueRequired",
    "Forbidden": "FieldValueForbidden",
    "Unsupported value": "FieldValueNotSupported",
    "Invalid value": "FieldValueInvalid",
    "Too long": "FieldValueTooLong",
}


def _cause(path: str, problem: str, detail: str) -> Cause:
    return Cause(path=path, reason=REASONS[problem], message=f"{problem}: {detail}")


def _refuse(kind: str, causes: list[Cause]) -> None:
    if not causes:
        return
    shown = [f"{cause.path}: {cause.message}" for cause in causes]
    summary = shown[0] if len(shown) == 1 else "[" + ", ".join(shown) + "]"
    raise Invalid(
        f'{kind}.meta.k8s.io "" is invalid: {summary}',
        group="meta.k8s.io",
        kind=kind,
        causes=causes,
    )
