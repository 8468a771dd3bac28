import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.meta import ObjectMeta


def config(name: str, namespace: str = "default", version: str = "1", **labels: str) -> ConfigMap:
    metadata = ObjectMeta(name=name, namespace=namespace, resourceVersion=version, labels=labels)
    return ConfigMap(metadata=metadata)


async def test_objects_are_ordered_by_namespace_and_name() -> None:
    mirror = ObjectMirror[ConfigMap]()
    items = [config("b"), config("a", "zoo"), config("a"), config("c", "default-2")]
    for item in items:
        mirror.put(item)
    assert mirror.list() == [items[2], items[0], items[3], items[1]]
    assert mirror.list("default") == [items[2], items[0]]
    assert mirror.list("none") == []


async def test_an_index_follows_changes() -> None:
    mirror = ObjectMirror[ConfigMap]()
    mirror.put(config("a", app="web"))
    mirror.add_index("app", lambda item: [item.metadata.labels.get("app", "")])
    mirror.put(config("b", app="web"))
    assert [item.metadata.name for item in mirror.indexed("app", "web")] == ["a", "b"]
    mirror.put(config("a", app="db"))
    mirror.remove("default", "b")
    assert mirror.indexed("app", "web") == ()
    assert [item.metadata.name for item in mirror.indexed("app", "db")] == ["a"]


async def test_listeners_hear_what_is_there_and_then_changes() -> None:
    mirror = ObjectMirror[ConfigMap]()
    first, second = config("a"), config("a", version="2")
    mirror.put(first)
    heard: list[tuple[ConfigMap | None, ConfigMap | None]] = []
    end = mirror.subscribe(lambda before, after: heard.append((before, after)))
    mirror.put(second)
    mirror.remove("default", "a")
    mirror.remove("default", "a")
    end()
    mirror.put(first)
    assert heard == [(None, first), (first, second), (second, None)]


async def test_a_new_list_tells_only_differences() -> None:
    mirror = ObjectMirror[ConfigMap]()
    assert not mirror.is_synced
    mirror.replace([config("a"), config("b"), config("c")])
    await mirror.synced()
    heard: list[str] = []

    def listen(before: ConfigMap | None, after: ConfigMap | None) -> None:
        changed = after or before
        assert changed is not None
        heard.append(changed.metadata.name)

    mirror.subscribe(listen)
    heard.clear()
    mirror.replace([config("a"), config("b", version="2"), config("d")])
    assert heard == ["c", "b", "d"]
    assert len(mirror) == 3


async def test_a_listener_that_fails_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mirror = ObjectMirror[ConfigMap]()
    heard: list[str] = []

    def fail(before: ConfigMap | None, after: ConfigMap | None) -> None:
        raise RuntimeError

    mirror.subscribe(fail)
    mirror.subscribe(lambda _before, after: heard.append(after.metadata.name if after else ""))
    mirror.put(config("a"))
    assert heard == ["a"]
    assert caplog.messages == ["a mirror's listener failed"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.one_of(st.none(), st.lists(st.sampled_from("xyz"), max_size=3)),
        )
    )
)
def test_an_index_has_what_a_look_at_all_finds_in_order(
    changes: list[tuple[str, list[str] | None]],
) -> None:
    mirror = ObjectMirror[ConfigMap]()
    mirror.add_index("data", lambda item: item.data["values"].split(","))
    for name, values in changes:
        if values is None:
            mirror.remove("default", name)
        else:
            mirror.put(replace(config(name), data={"values": ",".join(values)}))
    for value in "xyz":
        expected = [one for one in mirror.list() if value in one.data["values"].split(",")]
        assert list(mirror.indexed("data", value)) == expected
