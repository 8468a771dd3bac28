"""What the host does to containers, whatever engine runs them."""

import asyncio

from kubelite.clock import Clock
from kubelite.node.cgroups import limit_pod
from kubelite.node.runtime import (
    ContainerLimits,
    ContainerRecord,
    ContainerSpec,
    RuntimeFailure,
    Usage,
)
from kubelite.node.usage_files import GroupFiles


def reductions(
    spec: ContainerSpec, *, has_all_capabilities: bool, may_protect: bool
) -> tuple[str, ...]:
    """Return a text for each privilege in a container's spec that this host withholds.

    Args:
        spec: The container.
        has_all_capabilities: Whether a root process of this host can have all capabilities.
        may_protect: Whether the host allows negative out-of-memory scores.
    """
    found = []
    if spec.privileged and not has_all_capabilities:
        found.append("this host withholds capabilities from privileged containers")
    if spec.limits.oom_score_adj < 0 and not may_protect:
        found.append("this host does not let it be spared when memory runs out")
    return tuple(found)


def systemd_slice(path: str) -> str:
    """Spell the path of a control group as engines want it that leave groups to systemd."""
    return "-".join(part.replace("-", "_") for part in path.strip("/").split("/")) + ".slice"


async def limit_sandbox(
    sandbox: ContainerRecord, limits: ContainerLimits, class_shares: int
) -> None:
    """Limit all containers of a running sandbox together, and weigh its QoS class. Raises RuntimeFailure."""
    try:
        await asyncio.to_thread(limit_pod, sandbox.pid, sandbox.pod_uid, limits, class_shares)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}"
        raise RuntimeFailure(f"cannot set the control group of the pod: {what}") from error


async def usage_of(record: ContainerRecord, clock: Clock) -> Usage | None:
    """Return the usage of a running container; None if it cannot be read, as when the container has just ended."""
    if not record.pid:
        return None

    def read() -> Usage | None:
        files = GroupFiles()
        return files.container(files.groups(record.pid), record.id, clock.now())

    return await asyncio.to_thread(read)
