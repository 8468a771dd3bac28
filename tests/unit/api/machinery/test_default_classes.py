from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.default_classes import DEFAULT_STORAGE, newest_default


def marked(
    name: str, created: str, text: str = "true", mark: str = DEFAULT_STORAGE[0]
) -> ObjectMeta:
    return ObjectMeta(name=name, creationTimestamp=created, annotations={mark: text})


def test_the_newest_of_the_marked_classes_is_the_default() -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    assert newest_default([], DEFAULT_STORAGE) == ""
    assert newest_default([marked("a", old, "false")], DEFAULT_STORAGE) == ""
    assert newest_default([marked("a", old), marked("b", new)], DEFAULT_STORAGE) == "b"
    assert newest_default([marked("b", new), marked("a", new)], DEFAULT_STORAGE) == "a"
    beta = marked("beta", old, mark=DEFAULT_STORAGE[1])
    assert newest_default([beta], DEFAULT_STORAGE) == "beta"
