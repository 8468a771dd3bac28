"""Config maps and secrets."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, Base64, GroupVersionKind, Kind


class ConfigMap(Kind):
    """ConfigMap."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ConfigMap")

    metadata: ObjectMeta = ObjectMeta()
    binaryData: dict[str, Base64] = {}
    data: dict[str, str] = {}
    immutable: bool | None = None


class ConfigMapList(Kind):
    """ConfigMapList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ConfigMapList")

    items: Annotated[list[ConfigMap], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class Secret(Kind):
    """Secret."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Secret")

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, Base64] = {}
    immutable: bool | None = None
    stringData: dict[str, str] = {}
    type: str = ""


class SecretList(Kind):
    """SecretList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "SecretList")

    items: Annotated[list[Secret], REQUIRED] = []
    metadata: ListMeta = ListMeta()
