"""The messages of the kubelet's plugin registration, k8s.io/kubelet `pluginregistration/v1`."""

from __future__ import annotations

from typing import Annotated

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Message


class Empty(Message):
    """A request or an answer without fields."""


class PluginInfo(Message):
    """What a plugin says of itself through its registration socket."""

    type: Annotated[str, 1] = ""
    name: Annotated[str, 2] = ""
    endpoint: Annotated[str, 3] = ""
    supported_versions: Annotated[list[str], 4] = []


class RegistrationStatus(Message):
    """What the kubelet answers to a registration."""

    plugin_registered: Annotated[bool, 1] = False
    error: Annotated[str, 2] = ""


GET_INFO = Method("/pluginregistration.Registration/GetInfo", Empty, PluginInfo)
NOTIFY = Method(
    "/pluginregistration.Registration/NotifyRegistrationStatus", RegistrationStatus, Empty
)
