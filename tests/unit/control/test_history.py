"""The revisions of a template."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.apps import ControllerRevision, DaemonSet, DaemonSetSpec
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import PodSpec, PodTemplateSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.history import data_of, plan, template_of

TEMPLATE = PodTemplateSpec(
    metadata=ObjectMeta(labels={"b": "2", "a": "1"}),
    spec=PodSpec(containers=[Container(name="c", image="i", command=["sh"])]),
)
OWNER = DaemonSet(
    metadata=ObjectMeta(name="d", namespace="n", uid="u"), spec=DaemonSetSpec(template=TEMPLATE)
)


def revision(data: Any) -> ControllerRevision:
    return ControllerRevision(metadata=ObjectMeta(name="r"), data=data, revision=1)


def test_data_is_written_as_go_writes_it() -> None:
    assert msgspec.json.encode(data_of(TEMPLATE)) == (
        b'{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"1","b":"2"}},'
        b'"spec":{"containers":[{"command":["sh"],"image":"i","name":"c","resources":{}}]}}}}'
    )
    assert template_of(revision(data_of(TEMPLATE))) == TEMPLATE


def test_a_revision_is_found_again_however_its_data_is_written() -> None:
    plain = {"spec": {"template": {**msgspec.to_builtins(TEMPLATE), "$patch": "replace"}}}
    decided = plan(OWNER, [revision(plain)], None)
    assert not decided.create


@pytest.mark.parametrize(
    "data",
    [None, {}, {"spec": None}, {"spec": {"template": []}}, {"spec": {"template": {"spec": 1}}}],
)
def test_data_of_others_is_another_revision(data: Any) -> None:
    decided = plan(OWNER, [revision(data)], None)
    assert decided.create
    assert decided.newest.revision == 2
