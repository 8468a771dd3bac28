"""docs/pod-security.md says of each security-relevant field of a pod what the node does with it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from kubelite.api.kinds.core.containers import Container, EphemeralContainer
from kubelite.api.kinds.core.pods import PodSpec
from kubelite.api.kinds.core.volumes import PersistentVolumeClaimTemplate
from kubelite.api.kinds.model import Model

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "pod-security.md"
BEGIN, END = "<!-- fields -->", "<!-- end of fields -->"
VERDICTS = ("honoured", "refused", "no effect possible")

# Judged where they are objects of their own.
ELSEWHERE = {PersistentVolumeClaimTemplate}

# Fields that change nothing about what a container may do, see or keep to itself: what is placed where and when, names
# that other fields refer to, times and counts of probes, and the parts of a pod that are looked into field by field.
NOT_RELEVANT = {
    "PodSpec": (
        "affinity containers ephemeralContainers initContainers overhead preemptionPolicy priority "
        "priorityClassName readinessGates restartPolicy schedulerName schedulingGates schedulingGroup "
        "terminationGracePeriodSeconds tolerations topologySpreadConstraints"
    ),
    "Container": (
        "args command name resizePolicy restartPolicy restartPolicyRules stdin stdinOnce tty workingDir"
    ),
    "ContainerPort": "name",
    "EnvVar": "name",
    "EnvFromSource": "prefix",
    "ConfigMapKeySelector": "key name optional",
    "SecretKeySelector": "key name optional",
    "ConfigMapEnvSource": "name optional",
    "SecretEnvSource": "name optional",
    "ObjectFieldSelector": "apiVersion fieldPath",
    "ResourceFieldSelector": "containerName divisor resource",
    "Lifecycle": "postStart preStop",
    "LifecycleHandler": "exec httpGet sleep tcpSocket",
    "SleepAction": "seconds",
    "HTTPHeader": "name value",
    "Probe": (
        "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold "
        "tcpSocket terminationGracePeriodSeconds timeoutSeconds"
    ),
    "VolumeMount": "mountPath name",
    "PodDNSConfigOption": "name value",
    "LocalObjectReference": "name",
    "Volume": "name",
    "ConfigMapVolumeSource": "items name optional",
    "SecretVolumeSource": "items optional secretName",
    "DownwardAPIVolumeSource": "items",
    "DownwardAPIVolumeFile": "fieldRef resourceFieldRef",
    "ProjectedVolumeSource": "sources",
    "ConfigMapProjection": "items name optional",
    "SecretProjection": "items name optional",
    "DownwardAPIProjection": "items",
    "KeyToPath": "key",
    "WindowsSecurityContextOptions": (
        "gmsaCredentialSpec gmsaCredentialSpecName hostProcess runAsUserName"
    ),
}
# Of these the whole is not looked into: their parts only say where a pod runs, or when a container starts again.
NOT_ENTERED = {
    "PodSpec.affinity",
    "PodSpec.readinessGates",
    "PodSpec.schedulingGates",
    "PodSpec.schedulingGroup",
    "PodSpec.tolerations",
    "PodSpec.topologySpreadConstraints",
    "Container.resizePolicy",
    "Container.restartPolicyRules",
}


class Row(NamedTuple):
    """One row of the table."""

    fields: tuple[str, ...]
    verdict: str
    where: tuple[str, ...]
    tests: tuple[str, ...]


@cache
def rows() -> tuple[Row, ...]:
    table = TABLE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    found = []
    for line in table.splitlines()[2:]:
        fields, verdict, where, tests = (cell.strip() for cell in line.strip("|").split("|"))
        found.append(Row(_quoted(fields), verdict, _quoted(where), _quoted(tests)))
    return tuple(found)


def _quoted(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def _structs(hint: Any) -> Iterator[type[Model]]:
    if isinstance(hint, type) and issubclass(hint, Model):
        yield hint
    for argument in get_args(hint):
        yield from _structs(argument)


def fields_of_pods() -> set[str]:
    """Return all fields that a pod's spec can have, but those below a field that is refused or not entered."""
    refused = {field for row in rows() for field in row.fields if row.verdict.startswith("refused")}
    found: set[str] = set()
    seen: set[type[Model]] = set(ELSEWHERE)
    waiting: list[type[Model]] = [PodSpec]
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.add(kind)
        for name, hint in get_type_hints(kind).items():
            if name not in kind.__struct_fields__:
                continue
            field = f"{_type_name(kind, name)}.{name}"
            found.add(field)
            if field not in refused and field not in NOT_ENTERED:
                waiting += _structs(hint)
    return found


def _type_name(kind: type[Model], field: str) -> str:
    is_shared = kind is EphemeralContainer and field in Container.__struct_fields__
    return "Container" if is_shared else kind.__name__


def not_relevant() -> set[str]:
    return {f"{kind}.{name}" for kind, names in NOT_RELEVANT.items() for name in names.split()}


def test_every_field_of_a_pod_is_in_the_table_or_says_nothing_about_security() -> None:
    listed = [field for row in rows() for field in row.fields]
    assert len(listed) == len(set(listed)), "a field is in the table twice"
    assert not set(listed) & not_relevant()
    assert fields_of_pods() - set(listed) - not_relevant() == set(), "fields that nobody judged"
    assert (set(listed) | not_relevant()) - fields_of_pods() == set(), "fields that do not exist"


def test_every_row_has_a_verdict_a_place_and_a_test() -> None:
    for row in rows():
        assert row.verdict.startswith(VERDICTS), row
        assert row.where, row
        assert row.tests, row
        for place in row.where:
            assert (ROOT / "src" / "kubelite" / place).is_file(), place
        for test in row.tests:
            path, _, name = test.partition("::")
            assert name in _tests_in(ROOT / "tests" / path), test


@cache
def _tests_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))
