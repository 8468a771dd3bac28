"""The file of a simulation: its nodes, and what pods on them do. Every refusal names the field.

nodes:                      # groups; NAME-0, NAME-1 and so on
- {name: gpu, count: 2, cpu: "16", memory: 64Gi, pods: 250, storage: 1Ti, architecture: arm64,
   labels: {topology.kubernetes.io/zone: a}, taints: ["gpu=yes:NoSchedule"], lost: {afterSeconds: 60, forSeconds: 90}}
node: {cpu: "8"}            # all that --simulate-nodes asks for beyond the groups
pods:                       # the first rule that matches a pod counts
- match: {namespace: shop, name: "web-*", image: "*/web:*", labels: {app: web}, owner: Job}
  startSeconds: [0.1, 2]    # a number, or from and to
  runSeconds: 5             # it ends by itself
  exitCode: 1
  startFailures: 0.1        # which part of the starts fails
  crashes: 0.2              # which part of the containers ends with an error after crashSeconds
  crashSeconds: [1, 60]
images: {pullSeconds: 0.5, missing: ["*/nope:*"]}
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from kubelite.api.kinds.core.scheduling import Taint
from kubelite.api.machinery.node_flags import FlagInvalid, parse_labels, parse_taints
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.limits import SIMULATED_NODES, SIMULATION_FILE
from kubelite.node.machine import ARCHITECTURES
from kubelite.text_formats import qualified_name

SIMULATED = "kubelite.io/simulated"  # label of a Node: it exists in simulation only
DEFAULT_NAME = "simulated"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAME_LENGTH_MAX = 40  # with its number it is a node's name
SECONDS_MAX = 1e7

Part = Annotated[float, Meta(ge=0, le=1)]
Seconds = float | tuple[float, float]  # a number, or from and to


class SimulationInvalid(Exception):
    """The file of a simulation cannot be used; the message names the field."""


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of the file; a field that is not known is refused."""


class Absence(_Strict, frozen=True):
    """When a node falls silent, counted from its start, and for how long."""

    after_seconds: Annotated[float, Meta(ge=0, le=SECONDS_MAX)]
    for_seconds: Annotated[float, Meta(ge=0, le=SECONDS_MAX)] = SECONDS_MAX


class NodeSpec(_Strict, frozen=True):
    """The properties of a simulated node."""

    cpu: str | int = "4"
    memory: str | int = "8Gi"
    storage: str | int = "100Gi"
    pods: Annotated[int, Meta(ge=1, le=100_000)] = 110
    architecture: str = "amd64"
    labels: Mapping[str, str] = {}
    taints: tuple[str, ...] = ()
    lost: Absence | None = None


class NodeGroup(NodeSpec, frozen=True):
    """Some nodes that are alike."""

    name: str = DEFAULT_NAME
    count: Annotated[int, Meta(ge=1)] = 1


class Match(_Strict, frozen=True):
    """Which pods a rule is for: those that all given patterns match (`*`, `?` and `[…]` as in a shell)."""

    namespace: str = ""
    name: str = ""
    image: str = ""  # of any of its containers
    labels: Mapping[str, str] = {}
    owner: str = ""  # kind of its controller


class Rule(_Strict, frozen=True):
    """What the containers of the pods that match do; what is not given is as without the rule."""

    match: Match = Match()
    start_seconds: Seconds | None = None
    run_seconds: Seconds | None = None
    exit_code: Annotated[int, Meta(ge=0, le=255)] = 0
    start_failures: Part = 0.0
    crashes: Part = 0.0
    crash_seconds: Seconds = (1.0, 60.0)


class Images(_Strict, frozen=True):
    """How images come."""

    pull_seconds: Seconds = 0.0
    missing: tuple[str, ...] = ()


class Simulation(_Strict, frozen=True):
    """The whole file."""

    nodes: tuple[NodeGroup, ...] = ()
    node: NodeSpec = NodeSpec()
    pods: tuple[Rule, ...] = ()
    images: Images = Images()


class PlannedNode(Struct, frozen=True):
    """One node to simulate, with all amounts as numbers."""

    name: str
    number: int  # in the whole simulation, from 0
    cpus: int
    memory_bytes: int
    disk_bytes: int
    spec: NodeSpec
    taints: tuple[Taint, ...] = ()


def read_simulation(path: Path) -> Simulation:
    """Read and check a file. Raises SimulationInvalid."""
    try:
        with path.open("rb") as file:
            content = file.read(SIMULATION_FILE.value + 1)
    except OSError as error:
        raise SimulationInvalid(f"cannot read {path}: {error.strerror}") from error
    if len(content) > SIMULATION_FILE.value:
        SIMULATION_FILE.reached()
        raise SimulationInvalid(f"{path} has more than {SIMULATION_FILE.value} bytes")
    try:
        return parse_simulation(content)
    except SimulationInvalid as error:
        raise SimulationInvalid(f"{path}: {error}") from None


def parse_simulation(content: bytes) -> Simulation:
    """Return what a file says. Raises SimulationInvalid."""
    try:
        if not content.strip():
            return Simulation()
        found = msgspec.yaml.decode(content, type=Simulation)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        raise SimulationInvalid(f"{where.strip('.`') or 'the file'}: {reason}") from None
    except (ValueError, RecursionError) as error:
        raise SimulationInvalid(f"it is not YAML: {' '.join(str(error).split())}") from None
    for where, spec in (
        ("node", found.node),
        *((f"nodes[{number}]", group) for number, group in enumerate(found.nodes)),
    ):
        _check_node(where, spec)
    _check_ranges(found)
    return found


def _check_node(where: str, spec: NodeSpec) -> None:
    for field in ("cpu", "memory", "storage"):
        _amount(f"{where}.{field}", getattr(spec, field))
    if spec.architecture not in ARCHITECTURES.values():
        known = ", ".join(sorted(ARCHITECTURES.values()))
        raise SimulationInvalid(
            f"{where}.architecture: {spec.architecture!r} must be one of {known}"
        )
    _flags(where, spec)
    if isinstance(spec, NodeGroup) and (
        NAME.fullmatch(spec.name) is None or len(spec.name) > NAME_LENGTH_MAX
    ):
        raise SimulationInvalid(
            f"{where}.name: {spec.name!r} must be at most {NAME_LENGTH_MAX} lower case letters, digits and '-', "
            "and must start and end with a letter or digit"
        )


def _flags(where: str, spec: NodeSpec) -> tuple[Taint, ...]:
    """Return the taints of a node. Raises SimulationInvalid for a label or taint that cannot be."""
    for key in spec.labels:
        if findings := qualified_name(key):
            raise SimulationInvalid(f"{where}.labels: {key!r}: {', '.join(findings)}")
    try:
        parse_labels([f"{key}={value}" for key, value in spec.labels.items()])
    except FlagInvalid as error:
        raise SimulationInvalid(f"{where}.labels: {error}") from None
    try:
        return parse_taints(spec.taints)
    except FlagInvalid as error:
        raise SimulationInvalid(f"{where}.taints: {error}") from None


def _amount(where: str, text: str | int) -> int:
    try:
        amount = parse_quantity(text).value()
    except ValueError as error:
        raise SimulationInvalid(f"{where}: {text!r}: {error}") from None
    if not 0 < amount < 1 << 62:
        raise SimulationInvalid(f"{where}: {text!r} must be greater than 0")
    return amount


def _check_ranges(found: Simulation) -> None:
    ranges: dict[str, Seconds | None] = {"images.pullSeconds": found.images.pull_seconds}
    for number, rule in enumerate(found.pods):
        ranges |= {
            f"pods[{number}].startSeconds": rule.start_seconds,
            f"pods[{number}].runSeconds": rule.run_seconds,
            f"pods[{number}].crashSeconds": rule.crash_seconds,
        }
    for where, given in ranges.items():
        first, last = span(given or 0.0)
        if not 0 <= first <= last <= SECONDS_MAX:  # nor is it, if either is no number
            raise SimulationInvalid(
                f"{where}: must be seconds from 0 to {SECONDS_MAX:.0f}, or FROM and TO of those"
            )


def span(seconds: Seconds) -> tuple[float, float]:
    """Return a time as from and to."""
    return seconds if isinstance(seconds, tuple) else (seconds, seconds)


def planned_nodes(simulation: Simulation, wanted: int) -> Sequence[PlannedNode]:
    """Return the nodes of all groups, and as many others as there are to be `wanted`. Raises SimulationInvalid."""
    counted = sum(group.count for group in simulation.nodes)
    if 0 < wanted < counted:
        raise SimulationInvalid(
            f"nodes: they are {counted}, more than the {wanted} of --simulate-nodes"
        )
    if max(counted, wanted) > SIMULATED_NODES.value:
        SIMULATED_NODES.reached()
        raise SimulationInvalid(f"there may be {SIMULATED_NODES.value} simulated nodes at most")
    nodes: dict[str, PlannedNode] = {}
    for name, where, spec in _names(simulation, wanted - counted):
        if name in nodes:
            raise SimulationInvalid(f"{where}.name: there would be two nodes {name}")
        nodes[name] = PlannedNode(
            name,
            len(nodes),
            _amount(f"{where}.cpu", spec.cpu),
            _amount(f"{where}.memory", spec.memory),
            _amount(f"{where}.storage", spec.storage),
            spec,
            _flags(where, spec),
        )
    return tuple(nodes.values())


def _names(simulation: Simulation, others: int) -> Iterator[tuple[str, str, NodeSpec]]:
    """Yield the name of each node, the part of the file that says what it is like, and that."""
    for place, group in enumerate(simulation.nodes):
        for number in range(group.count):
            yield f"{group.name}-{number}", f"nodes[{place}]", group
    taken = sum(group.count for group in simulation.nodes if group.name == DEFAULT_NAME)
    for number in range(taken, taken + max(others, 0)):
        yield f"{DEFAULT_NAME}-{number}", "node", simulation.node
