"""An image brings labels along, which the engine gives to its containers: none may pass for one of the node's own."""

import inspect
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node import container_owner, container_spec, docker, docker_wire, observed
from kubelite.node.container_owner import ContainerOwner
from kubelite.node.docker_wire import container_body, record_of
from kubelite.node.lifecycle import StartContainer
from kubelite.node.profiles import LoadedProfiles
from kubelite.node.runtime import ContainerLimits, ContainerRecord, Image

SANDBOX = ContainerRecord(
    id="s",
    pod_uid="u",
    pod_name="p",
    namespace="n",
    name="",
    attempt=0,
    phase="running",
    created_at=datetime(2026, 5, 1, tzinfo=UTC),
)


def labels_read() -> set[str]:
    """Return every label that the node reads back: constants, and what the source of `record_of` spells out."""
    modules = (docker_wire, container_owner, container_spec, observed)
    named = {
        value
        for module in modules
        for name, value in vars(module).items()
        # A sandbox is made from the node's own image: what only it has, no other image can bring along.
        if name.endswith("_LABEL") and name not in inspect.getsource(container_spec.sandbox_spec)
    }
    return named | set(re.findall(r'"(io\.[a-z.-]+)"', inspect.getsource(record_of)))


OWNER = ContainerOwner("0123", "node", Path("/nowhere"))


def labels_given() -> dict[str, str]:
    container = Container(name="c", image="i")
    pod = Pod(
        metadata=ObjectMeta(name="p", namespace="n", uid="u"), spec=PodSpec(containers=[container])
    )
    start = StartContainer(container=container, attempt=0, sandbox=SANDBOX, backoff_seconds=0)
    spec = container_spec.container_spec(pod, start, Image("sha256:0"), {}, (), ContainerLimits())
    body: dict[str, Any] = container_body(
        spec, OWNER, LoadedProfiles(), may_protect=False, privileges={}
    )
    labels: dict[str, str] = body["Labels"]
    return labels


def test_a_container_has_every_label_that_is_read_back_from_the_node_itself() -> None:
    read = labels_read()
    assert {
        container_owner.NODE_LABEL,
        container_owner.OWNER_LABEL,
        observed.HASH_LABEL,
        "io.kubernetes.pod.uid",
    } <= read
    # The engine lets the labels of a container win over those of its image: what is set cannot be forged.
    assert read <= labels_given().keys()


def test_nothing_is_copied_into_or_out_of_containers_by_the_engine() -> None:
    """The engine's archive endpoints follow what a container puts in their way."""
    assert "/archive" not in inspect.getsource(docker)
