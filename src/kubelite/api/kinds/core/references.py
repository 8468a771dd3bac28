"""References from one core object to another, or to a part of it."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.model import REQUIRED, Int32, Model, Quantity, default


class ConfigMapKeySelector(Model):
    """A key of a config map."""

    key: Annotated[str, REQUIRED] = ""
    name: str = ""
    optional: bool | None = None


class FileKeySelector(Model):
    """A key of an environment file on a volume."""

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

    name: str = ""


class ObjectFieldSelector(Model):
    """A field of the pod."""

    fieldPath: Annotated[str, REQUIRED] = ""
    apiVersion: str = ""


class ObjectReference(Model):
    """Any object, or a part of it."""

    apiVersion: str = ""
    fieldPath: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""
    uid: str = ""


class ResourceFieldSelector(Model):
    """A container's request or limit."""

    resource: Annotated[str, REQUIRED] = ""
    containerName: str = ""
    divisor: Quantity = ""


class SecretKeySelector(Model):
    """A key of a secret."""

    key: Annotated[str, REQUIRED] = ""
    name: str = ""
    optional: bool | None = None


class SecretReference(Model):
    """A secret by name and namespace."""

    name: str = ""
    namespace: str = ""


class TypedLocalObjectReference(Model):
    """An object of the same namespace, by kind and name."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None


class TypedObjectReference(Model):
    """An object by kind, name and perhaps namespace."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None
    namespace: str | None = None
