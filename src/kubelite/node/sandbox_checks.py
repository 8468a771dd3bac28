"""Refuses pods with settings that this node cannot honour, before their sandbox is made; an event says why.

A setting that isolates a pod must never be dropped in silence, since the pod may have been admitted because of it.
"""

from collections.abc import Sequence

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.node import RuntimeClass
from kubelite.node.name_resolution import host_name
from kubelite.node.runtime import ContainerRuntime, Handler, RuntimeFailure

KERNEL_NAME_LIMIT = 64  # of a host name, in the kernel's uname


class SandboxRefused(RuntimeFailure):
    """This node cannot make a sandbox as the pod asks for it; `str()` is the kubelet's message."""


class SandboxChecks:
    """Checks pods against what the engine offers."""

    def __init__(self, client: Client, runtime: ContainerRuntime, cluster_domain: str) -> None:
        self._client = client
        self._runtime = runtime
        self._cluster_domain = cluster_domain

    async def handler(self, pod: Pod) -> str:
        """Return the handler to make the pod's sandbox with, empty for the default; raises SandboxRefused."""
        if too_long := long_name(pod, self._cluster_domain):
            raise SandboxRefused(too_long)
        if not pod.spec.runtimeClassName and pod.spec.hostUsers is not False:
            return ""
        name = await self._handler_of_class(pod.spec.runtimeClassName or "")
        if refusal := handler_refusal(pod, name, await self._runtime.handlers()):
            raise SandboxRefused(refusal)
        return name

    async def _handler_of_class(self, name: str) -> str:
        if not name:
            return ""
        try:
            return (await self._client.get(RuntimeClass, name)).handler
        except NotFound as error:
            raise SandboxRefused(f'runtimeclass.node.k8s.io "{name}" not found') from error


def handler_refusal(pod: Pod, name: str, handlers: Sequence[Handler]) -> str:
    """Return why a pod cannot run with a handler; empty when it can."""
    handler = next((one for one in handlers if one.name == name), None)
    if pod.spec.hostUsers is False:
        what = f'RuntimeClass handler "{name}"' if name else "runtime"
        message = f"can't set `spec.hostUsers: false`, {what} does not support user namespaces"
        if handler is None:
            return f'{message}: the handler "{name}" is not known'
        if not handler.user_namespaces:
            return message
    if handler is None:
        return f'failed to get sandbox runtime: no runtime for "{name}" is configured'
    return ""


def long_name(pod: Pod, cluster_domain: str) -> str:
    """Return why a pod cannot have its domain in its host name; empty when it can."""
    name = host_name(pod, cluster_domain)
    if pod.spec.hostNetwork or len(name) <= KERNEL_NAME_LIMIT:
        return ""
    return (
        f"failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long "
        f"({KERNEL_NAME_LIMIT} characters is the max, {len(name)} characters requested)"
    )
