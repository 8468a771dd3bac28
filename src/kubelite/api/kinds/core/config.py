"""Config maps and secrets."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, Base64, GroupVersionKind, Kind


class ConfigMap(Kind):
    """Settings for pods, as texts and bytes under keys."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ConfigMap")

    metadata: ObjectMeta = ObjectMeta()
    binaryData: dict[str, Base64] = {}
    data: dict[str, str] = {}
    immutable: bool | None = None


class ConfigMapList(Kind):
    """A list of config maps."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ConfigMapList")

    items: Annotated[list[ConfigMap], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class Secret(Kind):
    """Confidential bytes under keys, for pods and for pulling images."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Secret")

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, Base64] = {}
    immutable: bool | None = None
    stringData: dict[str, str] = {}
    type: str = ""


class SecretList(Kind):
    """A list of secrets."""

    gvk: ClassVar = GroupVersionKind("", "v1", "SecretList")

    items: Annotated[list[Secret], REQUIRED] = []
    metadata: ListMeta = ListMeta()
