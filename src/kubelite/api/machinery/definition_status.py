"""The status of a CustomResourceDefinition in wire form: its conditions, stored versions and finalizer.

Source: apiextensions-apiserver's helpers and strategy. Conditions keep their place; the date of one changes with its
status alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from kubelite.api.machinery.times import format_time

JSON = Mapping[str, Any]
Fields = dict[str, Any]

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
NAMES_ACCEPTED, ESTABLISHED, TERMINATING = "NamesAccepted", "Established", "Terminating"
NON_STRUCTURAL = "NonStructuralSchema"
APPROVAL_CONFORMANT = "KubernetesAPIApprovalPolicyConformant"


def condition(type_: str, status: str, reason: str, message: str) -> Fields:
    """Make a condition without a date."""
    return {"type": type_, "status": status, "reason": reason, "message": message}


def find_condition(conditions: Iterable[JSON], type_: str) -> JSON | None:
    """Return the condition of a type, or None."""
    return next((each for each in conditions if each.get("type") == type_), None)


def is_condition_true(conditions: Iterable[JSON], type_: str) -> bool:
    """Return whether the condition of a type has the status True."""
    found = find_condition(conditions, type_)
    return found is not None and found.get("status") == "True"


def with_condition(conditions: Sequence[JSON], new: JSON, now: datetime) -> list[Fields]:
    """Return the conditions with `new` in place of the one of its type, or at the end."""
    date, found, result = format_time(now), False, []
    for each in conditions:
        if each.get("type") == new["type"]:
            found = True
            is_same = each.get("status") == new["status"] and each.get("lastTransitionTime")
            kept = each["lastTransitionTime"] if is_same else date
            result.append({**each, **new, "lastTransitionTime": kept})
        else:
            result.append(dict(each))
    return result if found else [*result, {"lastTransitionTime": date, **new}]


def without_condition(conditions: Iterable[JSON], type_: str) -> list[Fields]:
    """Return the conditions except that of a type."""
    return [dict(each) for each in conditions if each.get("type") != type_]


def new_status(definition: JSON) -> Fields:
    """Return the status of a new definition: whatever the client sent, only its storage version is stored."""
    return {"storedVersions": _storage_version(definition)[:1]}


def updated_status(definition: JSON, old: JSON) -> Fields:
    """Return the status of a changed definition: the old one, with a new storage version at the end of the stored."""
    status = dict(old.get("status") or {})
    stored = list(status.get("storedVersions") or ())
    status["storedVersions"] = [
        *stored,
        *(name for name in _storage_version(definition)[:1] if name not in stored),
    ]
    return status


def _storage_version(definition: JSON) -> list[str]:
    versions = (definition.get("spec") or {}).get("versions") or ()
    return [version.get("name", "") for version in versions if version.get("storage")]


def begin_deletion(definition: Fields, now: datetime) -> None:
    """Mark a definition in place when it is first deleted: its objects have to be deleted before it.

    It takes the place of the usual marks, whatever the propagation policy and whether or not the definition was ever
    established: no grace period is set, and the generation stays. Only a deletion of a definition that is being deleted
    already is carried out as usual.
    """
    metadata, status = definition["metadata"], definition.setdefault("status", {})
    metadata.setdefault("deletionTimestamp", format_time(now))
    finalizers = metadata.setdefault("finalizers", [])
    if CLEANUP_FINALIZER not in finalizers:
        finalizers.append(CLEANUP_FINALIZER)
    pending = condition(
        TERMINATING,
        "True",
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    )
    status["conditions"] = with_condition(status.get("conditions") or (), pending, now)
