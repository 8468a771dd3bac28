"""References from one core object to another, or to a part of it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.model import REQUIRED, Int32, Model, Quantity, default


class ConfigMapKeySelector(Model):
    """A key of a config map."""

    map_type: ClassVar = "atomic"

    key: Annotated[str, REQUIRED] = ""
    name: str = ""
    optional: bool | None = None


class FileKeySelector(Model):
    """A key of an environment file on a volume."""

    map_type: ClassVar = "atomic"

    key: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    volumeName: Annotated[str, REQUIRED] = ""
    optional: Annotated[bool | None, default(False)] = None


class KeyToPath(Model):
    """The file a key becomes."""

    key: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    mode: Int32 | None = None


class LocalObjectReference(Model):
    """An object of the same namespace, by name."""

    map_type: ClassVar = "atomic"

    name: str = ""


class ObjectFieldSelector(Model):
    """A field of the pod."""

    map_type: ClassVar = "atomic"

    fieldPath: Annotated[str, REQUIRED] = ""
    apiVersion: str = ""


class ObjectReference(Model):
    """Any object, or a part of it."""

    map_type: ClassVar = "atomic"

    apiVersion: str = ""
    fieldPath: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""
    uid: str = ""


class ResourceFieldSelector(Model):
    """A container's request or limit."""

    map_type: ClassVar = "atomic"

    resource: Annotated[str, REQUIRED] = ""
    containerName: str = ""
    divisor: Quantity = ""


class SecretKeySelector(Model):
    """A key of a secret."""

    map_type: ClassVar = "atomic"

    key: Annotated[str, REQUIRED] = ""
    name: str = ""
    optional: bool | None = None


class SecretReference(Model):
    """A secret by name and namespace."""

    map_type: ClassVar = "atomic"

    name: str = ""
    namespace: str = ""


class TypedLocalObjectReference(Model):
    """An object of the same namespace, by kind and name."""

    map_type: ClassVar = "atomic"

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None


class TypedObjectReference(Model):
    """An object by kind, name and perhaps namespace."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None
    namespace: str | None = None
