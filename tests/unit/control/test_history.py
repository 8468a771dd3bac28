"""The revisions of a template, also when users have had their hands on them."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.apps import ControllerRevision, DaemonSet, DaemonSetSpec
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import PodSpec, PodTemplateSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control import history
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


UNREADABLE: list[Any] = [
    None, {}, {"spec": None}, {"spec": "x"}, {"spec": []}, {"spec": {"template": None}}, {"spec": {"template": 1}},
    {"spec": {"template": {"spec": {"containers": 3}}}}, {"spec": {"template": {"metadata": []}}},
]  # fmt: skip


def daemons(image: str = "a:1") -> DaemonSet:
    containers = [{"name": "c", "image": image}]
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": containers}}
    metadata = {"name": "agent", "namespace": "default", "uid": "u"}
    return msgspec.convert({"metadata": metadata, "spec": {"template": template}}, DaemonSet)


def first(image: str = "a:1") -> ControllerRevision:
    decided = history.plan(daemons(image), [], None)
    assert decided.create
    return decided.newest


def labelled(revision: ControllerRevision, labels: dict[str, str]) -> ControllerRevision:
    metadata = msgspec.structs.replace(revision.metadata, labels=labels)
    return msgspec.structs.replace(revision, metadata=metadata)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"app": "x"},
        {history.HASH: "", history.REVISION_HASH: ""},
        {history.HASH: "-"},
        {history.REVISION_HASH: "-"},
    ],
)
def test_a_revision_that_lost_its_labels_keeps_its_hash_and_gets_them_back(
    labels: dict[str, str],
) -> None:
    whole = first()
    digest = history.digest_of(whole)
    given = {key: digest if value == "-" else value for key, value in labels.items()}
    lost = labelled(whole, given)
    assert history.digest_of(lost) == digest
    decided = history.plan(daemons(), [lost], None)
    assert (decided.create, decided.update) == (False, True)
    assert decided.newest.metadata.labels == {
        **given,
        history.HASH: digest,
        history.REVISION_HASH: digest,
    }
    assert decided.newest.revision == lost.revision
    assert not history.plan(daemons(), [decided.newest], None).update


def test_an_old_revision_that_is_current_again_becomes_the_newest() -> None:
    old, new = first(), msgspec.structs.replace(first("a:2"), revision=2)
    decided = history.plan(daemons(), [old, new], None)
    assert (decided.create, decided.update, decided.newest.revision) == (False, True, 3)
    assert decided.newest.metadata.name == old.metadata.name
    same = history.plan(daemons("a:2"), [old, new], None)
    assert (same.create, same.update, same.newest) == (False, False, new)
    fresh = history.plan(daemons("a:3"), [old, new], None)
    assert (fresh.create, fresh.newest.revision) == (True, 3)


def test_a_revision_whose_pods_live_is_kept_though_its_labels_are_gone() -> None:
    old = labelled(first(), {})
    digest = history.digest_of(old)
    assert history.surplus([old], {digest}, 0) == []
    assert history.surplus([old], {old.metadata.name}, 0) == []
    assert history.surplus([old], {"", "other"}, 0) == [old]


def test_the_oldest_beyond_the_limit_are_surplus() -> None:
    revisions = [
        msgspec.structs.replace(first(f"a:{number}"), revision=number) for number in (3, 1, 2)
    ]
    assert [one.revision for one in history.surplus(revisions, set(), 1)] == [1, 2]
    assert history.surplus(revisions, set(), 3) == history.surplus(revisions, set(), 4) == []


def test_a_template_is_read_from_what_was_kept() -> None:
    assert history.template_of(first()) == daemons().spec.template


@pytest.mark.parametrize("data", UNREADABLE)
def test_data_that_is_no_template_is_none(data: Any) -> None:
    garbled = msgspec.structs.replace(first(), data=data)
    assert history.template_of(garbled) is None
    # It is a revision of its own: the one of the template is made beside it.
    assert history.plan(daemons(), [garbled], None).create


def test_an_empty_template_is_one() -> None:
    empty = msgspec.structs.replace(first(), data={"spec": {"template": {}}})
    assert history.template_of(empty) == PodTemplateSpec()
