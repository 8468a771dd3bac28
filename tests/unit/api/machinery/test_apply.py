"""Server-side apply."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.steps import RATIO_MAX, growth

from kubelite.api.errors import BadRequest, Conflict, PlainError
from kubelite.api.kinds.apps import Deployment
from kubelite.api.machinery.apply import LAST_APPLIED, apply
from kubelite.api.machinery.managed_fields import Writer, track
from kubelite.api.machinery.schema import compile_struct
from kubelite.limits import CAUSES, CAUSES_TEXT

SCHEMA = compile_struct(Deployment)


def writer(manager: str, second: int = 0) -> Writer:
    """Name a writer."""
    return Writer(manager, "apps/v1", f"2026-01-01T00:00:{second:02}Z")


def config(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Make a configuration."""
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop"}
    if labels:
        metadata["labels"] = labels
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    return {**made, "spec": spec} if spec else made


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    """Make a pod template."""
    return {"spec": {"containers": list(items)}}


def test_creation_by_apply() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}, replicas=1), writer("one"))
    assert made["spec"] == {"replicas": 1}
    (entry,) = made["metadata"]["managedFields"]
    assert entry["operation"] == "Apply"
    assert entry["fieldsV1"] == {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {"f:replicas": {}},
    }


def test_applying_again_changes_nothing() -> None:
    wanted = config({"a": "b"}, replicas=1, template=containers({"name": "x", "image": "y"}))
    made = apply(SCHEMA, None, wanted, writer("one"))
    assert apply(SCHEMA, made, wanted, writer("one", 5)) == made


def test_what_is_no_longer_applied_goes() -> None:
    first = config(
        {"a": "b", "c": "d"}, replicas=1, template=containers({"name": "x"}, {"name": "y"})
    )
    made = apply(SCHEMA, None, first, writer("one"))
    later = config({"a": "b"}, template=containers({"name": "y"}))
    result = apply(SCHEMA, made, later, writer("one", 1))
    assert result["metadata"]["labels"] == {"a": "b"}
    assert result["spec"] == {"template": containers({"name": "y"})}


def test_what_others_own_stays() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}, replicas=1), writer("one"))
    shared = apply(SCHEMA, made, config(replicas=1, paused=True), writer("two"))
    result = apply(SCHEMA, shared, config({"a": "b"}), writer("one", 1))
    assert result["spec"] == {"replicas": 1, "paused": True}
    gone = apply(SCHEMA, result, config(), writer("two", 2))
    assert "spec" not in gone or not gone["spec"]
    assert [entry["manager"] for entry in gone["metadata"]["managedFields"]] == ["one"]


def test_conflicts_name_their_managers() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}, replicas=1), writer("one"))
    with pytest.raises(Conflict) as refused:
        apply(SCHEMA, made, config(replicas=2), writer("two"))
    assert refused.value.message == (
        'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    )
    (cause,) = refused.value.causes
    assert (cause.path, cause.reason) == (".spec.replicas", "FieldManagerConflict")
    with pytest.raises(Conflict) as refused:
        apply(SCHEMA, made, config({"a": "x"}, replicas=2), writer("two"))
    assert refused.value.message == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .metadata.labels.a\n- .spec.replicas'
    )


def test_conflicts_with_updaters_tell_the_version() -> None:
    made = config(replicas=1)
    track(SCHEMA, None, made, writer("kubectl-create"))
    with pytest.raises(Conflict, match='with "kubectl-create" using apps/v1'):
        apply(SCHEMA, made, config(replicas=2), writer("two"))


def test_force_takes_over() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}, replicas=1), writer("one"))
    result = apply(SCHEMA, made, config(replicas=2), writer("two"), force=True)
    assert result["spec"]["replicas"] == 2
    one, two = result["metadata"]["managedFields"]
    assert one["fieldsV1"] == {"f:metadata": {"f:labels": {"f:a": {}}}}
    assert two["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


def test_equal_values_are_shared() -> None:
    made = apply(SCHEMA, None, config(replicas=1), writer("one"))
    result = apply(SCHEMA, made, config(replicas=1), writer("two"))
    assert len(result["metadata"]["managedFields"]) == 2


def test_lists_keep_neighbours() -> None:
    made = apply(
        SCHEMA, None, config(template=containers({"name": "a"}, {"name": "b"})), writer("1")
    )
    wanted = config(template=containers({"name": "c"}, {"name": "b", "image": "x"}))
    result = apply(SCHEMA, made, wanted, writer("2"))
    assert result["spec"]["template"]["spec"]["containers"] == [
        {"name": "a"},
        {"name": "c"},
        {"name": "b", "image": "x"},
    ]


def test_kubectl_takes_over_its_own_client_side_apply() -> None:
    made = config(replicas=1)
    made["metadata"]["annotations"] = {
        LAST_APPLIED: '{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1}}'
    }
    track(SCHEMA, None, made, writer("kubectl-client-side-apply"))
    result = apply(SCHEMA, made, config(replicas=2), writer("kubectl"))
    assert result["spec"]["replicas"] == 2
    assert '"replicas":2' in result["metadata"]["annotations"][LAST_APPLIED]


def test_untracked_objects_conflict_with_what_was_before() -> None:
    with pytest.raises(Conflict, match="before-first-apply"):
        apply(SCHEMA, config(replicas=1), config(replicas=2), writer("one"))


def test_refusals() -> None:
    wrong = config()
    wrong["metadata"]["managedFields"] = []
    with pytest.raises(BadRequest, match=r"metadata\.managedFields must be nil"):
        apply(SCHEMA, None, wrong, writer("one"))
    with pytest.raises(BadRequest, match="Incorrect version specified in apply patch"):
        apply(SCHEMA, None, {**config(), "apiVersion": "v1"}, writer("one"))
    nameless = config(template=containers({"image": "x"}))
    with pytest.raises(
        PlainError, match="failed to create typed patch object \\(shop/web; apps/v1"
    ):
        apply(SCHEMA, None, nameless, writer("one"))


def test_the_name_stays_when_its_last_neighbour_goes() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}), writer("one"))
    result = apply(SCHEMA, made, config(), writer("one", 1))
    assert result["metadata"] == {"name": "web", "namespace": "shop"}


def test_parts_of_what_is_owned_as_a_whole_stay() -> None:
    wanted = config(selector={"matchLabels": {"app": "web"}})
    made = apply(SCHEMA, None, wanted, writer("one"))
    (entry,) = made["metadata"]["managedFields"]
    entry["fieldsV1"] = {"f:spec": {"f:selector": {".": {}, "f:matchLabels": {"f:app": {}}}}}
    result = apply(SCHEMA, made, wanted, writer("one", 1))
    assert result["spec"] == wanted["spec"]


def conflicting(count: int, prefix: str = "l") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an object, and a configuration that contests so many of its labels."""
    labels = {f"{prefix}{index}": "a" for index in range(count)}
    live = config(labels, replicas=1)
    track(SCHEMA, None, live, writer("other"))
    return live, config(dict.fromkeys(labels, "b"), replicas=1)


def test_an_answer_of_many_conflicts_is_bounded_and_counts_them_all() -> None:
    live, wanted = conflicting(10 * CAUSES.value)
    with pytest.raises(Conflict) as refused:
        apply(SCHEMA, live, wanted, writer("me"))
    assert len(refused.value.causes) == CAUSES.value
    assert refused.value.message.startswith(f"Apply failed with {10 * CAUSES.value} conflicts: ")
    assert refused.value.message.endswith(f"\nand {9 * CAUSES.value} more")
    live, wanted = conflicting(1000, "x" * 10_000)
    with pytest.raises(Conflict) as refused:
        apply(SCHEMA, live, wanted, writer("me"))
    assert len(refused.value.message) < 1.1 * CAUSES_TEXT.value


def test_the_work_grows_no_faster_than_the_conflicts() -> None:
    def contesting(size: int) -> Callable[[], Any]:
        live, wanted = conflicting(size)

        def work() -> None:
            with pytest.raises(Conflict):
                apply(SCHEMA, live, wanted, writer("me"))

        return work

    def forcing(size: int) -> Callable[[], Any]:
        live, wanted = conflicting(size)
        return lambda: apply(SCHEMA, live, wanted, writer("me"), force=True)

    def after_many(size: int) -> Callable[[], Any]:
        live = None
        for index in range(size // 10):
            live = apply(SCHEMA, live, config({f"l{index}": "a"}), writer(f"m{index}"))
        return lambda: apply(SCHEMA, live, config({"l0": "a"}), writer("m0"))

    for work in (contesting, forcing, after_many):
        assert growth(work) < RATIO_MAX


def named(*names: str) -> list[dict[str, Any]]:
    """Make containers of these names."""
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        ("a b", "c b", "a c b"),
        ("a x b", "b a", "x b a"),
        ("a b x", "b a c", "b x a c"),
        ("a b", "c a", "c a b"),
        ("a b c", "c", "a b c"),
        ("x y", "a b", "x y a b"),
        ("a b c d", "d b", "a c d b"),
        ("", "a", "a"),
        ("a", "", "a"),
    ],
)
def test_the_order_of_merged_lists(live: str, applied: str, merged: str) -> None:
    before = config(template=containers(*named(*live.split())), replicas=1)
    wanted = config(template=containers(*named(*applied.split())), replicas=1)
    result = apply(SCHEMA, before, wanted, writer("one"), force=True)
    found = result["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in found] == merged.split()


TWICE = [{"name": "FOO", "value": "1"}, {"name": "FOO", "value": "2"}]


def environment(*variables: dict[str, str], **more: Any) -> dict[str, Any]:
    """Make a pod template whose one container has these variables."""
    return containers({"name": "c", "env": list(variables), **more})


def test_elements_that_stand_twice_stay_where_they_are_not_applied() -> None:
    made = config(template=environment(*TWICE, {"name": "BAR", "value": "x"}))
    track(SCHEMA, None, made, writer("old"))
    (entry,) = made["metadata"]["managedFields"]
    owned = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert owned['k:{"name":"c"}']["f:env"]['k:{"name":"FOO"}'] == {}
    wanted = config(template=containers({"name": "c", "image": "i"}))
    result = apply(SCHEMA, made, wanted, writer("new"))
    [container] = result["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [*TWICE, {"name": "BAR", "value": "x"}]
    assert container["image"] == "i"


def test_an_applied_element_replaces_those_of_its_key() -> None:
    made = config(template=environment(*TWICE, {"name": "BAR"}))
    track(SCHEMA, None, made, writer("old"))
    wanted = config(template=environment({"name": "FOO", "value": "3"}))
    with pytest.raises(Conflict, match=r'env\[name="FOO"\]'):
        apply(SCHEMA, made, wanted, writer("new"))
    result = apply(SCHEMA, made, wanted, writer("new"), force=True)
    [container] = result["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "FOO", "value": "3"}, {"name": "BAR"}]


def test_updates_of_elements_that_stand_twice_are_owned_as_a_whole() -> None:
    made = config(template=environment(TWICE[0]))
    track(SCHEMA, None, made, writer("old"))
    doubled = config(template=environment(*TWICE))
    doubled["metadata"]["managedFields"] = made["metadata"]["managedFields"]
    track(SCHEMA, made, doubled, writer("new", 1))
    entries = {one["manager"]: one["fieldsV1"] for one in doubled["metadata"]["managedFields"]}
    at = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"c"}', "f:env")
    expected: dict[str, Any]
    for manager, expected in (("new", {'k:{"name":"FOO"}': {}}), ("old", {})):
        fields = entries[manager]
        for step in at:
            fields = fields[step]
        assert fields == expected
    single = config(template=environment(TWICE[1]))
    single["metadata"]["managedFields"] = doubled["metadata"]["managedFields"]
    track(SCHEMA, doubled, single, writer("new", 2))
    fields = {one["manager"]: one["fieldsV1"] for one in single["metadata"]["managedFields"]}["new"]
    for step in at:
        fields = fields[step]
    assert fields == {'k:{"name":"FOO"}': {".": {}, "f:name": {}, "f:value": {}}}


def test_nulls_are_owned_and_take_nothing_from_what_has_parts() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}, replicas=1), writer("one"))
    nulls = {**config(replicas=None), "metadata": {"name": "web", "namespace": "shop"}}
    nulls["metadata"]["labels"] = None
    result = apply(SCHEMA, made, nulls, writer("two"), force=True)
    assert result["metadata"]["labels"] == {"a": "b"}
    assert result["spec"]["replicas"] is None
    entries = {one["manager"]: one["fieldsV1"] for one in result["metadata"]["managedFields"]}
    assert entries["two"] == {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}}}


def test_what_kubectl_applied_is_recorded_in_order_and_without_the_record_before() -> None:
    made = config(replicas=1)
    made["metadata"]["annotations"] = {LAST_APPLIED: "{}"}
    track(SCHEMA, None, made, writer("kubectl-client-side-apply"))
    wanted = config({"z": "a&b", "a": "b"})
    wanted["metadata"]["annotations"] = {LAST_APPLIED: "old"}
    result = apply(SCHEMA, made, wanted, writer("kubectl"), force=True)
    assert result["metadata"]["annotations"][LAST_APPLIED] == (
        '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{},'
        '"labels":{"a":"b","z":"a\\u0026b"},"name":"web","namespace":"shop"}}\n'
    )


def test_an_apply_that_sets_nothing_has_no_time() -> None:
    made = apply(SCHEMA, None, config({"a": "b"}, replicas=1), writer("one", 1))
    shared = apply(SCHEMA, made, config(replicas=1), writer("two", 2))
    one, two = shared["metadata"]["managedFields"]
    if one["manager"] == "two":
        one, two = two, one
    assert one["time"] == "2026-01-01T00:00:01Z"
    assert "time" not in two
    fewer = apply(SCHEMA, shared, config({"a": "b"}), writer("one", 3))
    times = {each["manager"]: each.get("time") for each in fewer["metadata"]["managedFields"]}
    assert times == {"one": "2026-01-01T00:00:01Z", "two": None}
