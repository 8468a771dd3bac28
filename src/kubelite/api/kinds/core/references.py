"""References from one core object to another, or to a part of it."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.model import REQUIRED, Int32, Model, Quantity, default


class ConfigMapKeySelector(Model):
    """ConfigMapKeySelector."""

    key: Annotated[str, REQUIRED] = ""
    name: str = ""
    optional: bool | None = None


class FileKeySelector(Model):
    """FileKeySelector."""

    key: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    volumeName: Annotated[str, REQUIRED] = ""
    optional: Annotated[bool | None, default(False)] = None


class KeyToPath(Model):
    """KeyToPath."""

    key: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    mode: Int32 | None = None


class LocalObjectReference(Model):
    """LocalObjectReference."""

    name: str = ""


class ObjectFieldSelector(Model):
    """ObjectFieldSelector."""

    fieldPath: Annotated[str, REQUIRED] = ""
    apiVersion: str = ""


class ObjectReference(Model):
    """ObjectReference."""

    apiVersion: str = ""
    fieldPath: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""
    uid: str = ""


class ResourceFieldSelector(Model):
    """ResourceFieldSelector."""

    resource: Annotated[str, REQUIRED] = ""
    containerName: str = ""
    divisor: Quantity = ""


class SecretKeySelector(Model):
    """SecretKeySelector."""

    key: Annotated[str, REQUIRED] = ""
    name: str = ""
    optional: bool | None = None


class SecretReference(Model):
    """SecretReference."""

    name: str = ""
    namespace: str = ""


class TypedLocalObjectReference(Model):
    """TypedLocalObjectReference."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None


class TypedObjectReference(Model):
    """TypedObjectReference."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None
    namespace: str | None = None
