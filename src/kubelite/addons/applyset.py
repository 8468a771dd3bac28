"""The ApplySet of a file: the labels by which its objects are found again, and the object that records it. Pure.

KEP-3659 defines labels and annotations; kubectl's `apply --applyset` and other tools read them. Each file has a
ConfigMap in kube-system as parent, which also shows how the file fared.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from kubelite import __version__
from kubelite.addons.manifests import GroupKind, ObjectKey
from kubelite.api.client.protocol import Object
from kubelite.api.kinds.core.config import ConfigMap

NAMESPACE = "kube-system"  # of the parents
ID = "applyset.kubernetes.io/id"
PART_OF = "applyset.kubernetes.io/part-of"
TOOLING = "applyset.kubernetes.io/tooling"
KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
ADDON = "kubelite.io/addon"  # label of the parents
FILE, STATE, OBJECTS, PROBLEM = "file", "state", "objects", "problem"  # keys of their data
APPLIED, WAITING, FAILED, SKIPPED, KEPT = "Applied", "Waiting", "Failed", "Skipped", "Kept"
PROBLEM_MAX = 4096  # characters of the problems that a parent shows
NAME_MAX = 200

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*").fullmatch
_FOREIGN = re.compile(r"[^a-z0-9]+")


class Scope(Struct, frozen=True):
    """Where the members of a set may be: their kinds, and their namespaces beside the parent's."""

    kinds: frozenset[GroupKind] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def __or__(self, other: "Scope") -> "Scope":
        """Return the scope of the members of both."""
        return Scope(self.kinds | other.kinds, self.namespaces | other.namespaces)


def scope_of(keys: Iterable[ObjectKey]) -> Scope:
    """Return the scope of some objects."""
    keys = tuple(keys)
    return Scope(
        frozenset((key.group, key.kind) for key in keys),
        frozenset(key.namespace for key in keys) - {"", NAMESPACE},
    )


def parent_name(file: str) -> str:
    """Return the name of the parent of a file; two files never share one."""
    if len(file) <= NAME_MAX and _NAME(file):
        return f"addon-{file}"
    mark = hashlib.sha256(file.encode(errors="surrogateescape")).hexdigest()[:12]
    plain = _FOREIGN.sub("-", file.lower())[:NAME_MAX].strip("-")
    return f"addon-{plain}-{mark}" if plain else f"addon-{mark}"


def set_id(parent: str) -> str:
    """Return the identity of the set of a parent, as the KEP computes it."""
    digest = hashlib.sha256(f"{parent}.{NAMESPACE}.ConfigMap.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def recorded_scope(parent: ConfigMap | None) -> Scope:
    """Return the scope that a parent has recorded."""
    if parent is None:
        return Scope()
    annotations = parent.metadata.annotations
    kinds = frozenset(_group_kind(text) for text in _texts(annotations, KINDS))
    return Scope(kinds, frozenset(_texts(annotations, NAMESPACES)) - {NAMESPACE})


def _texts(annotations: Mapping[str, str], key: str) -> list[str]:
    return [text.strip() for text in annotations.get(key, "").split(",") if text.strip()]


def _group_kind(text: str) -> GroupKind:
    kind, _, group = text.partition(".")
    return group, kind


def is_parent(item: ConfigMap) -> bool:
    """Return whether an object is the parent of the file that it names, and no other's."""
    name = item.metadata.name
    is_own = item.metadata.labels.get(ID) == set_id(name)
    return is_own and bool(item.data.get(FILE)) and parent_name(item.data[FILE]) == name


def parent_body(file: str, scope: Scope, data: Mapping[str, str]) -> Object:
    """Return the parent of a file, to be applied."""
    name = parent_name(file)
    kinds = sorted(f"{kind}.{group}" if group else kind for group, kind in scope.kinds)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {ADDON: "true", ID: set_id(name)},
            "annotations": {
                TOOLING: f"kubelite/v{__version__}",
                KINDS: ",".join(kinds),
                NAMESPACES: ",".join(sorted(scope.namespaces)),
            },
        },
        "data": {FILE: file, **data},
    }


def is_same(stored: ConfigMap | None, body: Object) -> bool:
    """Return whether a stored parent is already what would be applied."""
    if stored is None:
        return False
    metadata = body["metadata"]
    labels = {**stored.metadata.labels, **metadata["labels"]}
    annotations = {**stored.metadata.annotations, **metadata["annotations"]}
    found = (stored.data, stored.metadata.labels, stored.metadata.annotations)
    return found == (body["data"], labels, annotations)


def told(problems: Iterable[str]) -> str:
    """Return problems as lines, within the bound of a parent."""
    text = "\n".join(problems)
    return text if len(text) <= PROBLEM_MAX else f"{text[:PROBLEM_MAX]}..."
