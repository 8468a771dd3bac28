"""JSON patches in expressions."""

from kubelite.cel.libraries.jsonpatch import STRUCT_TYPE, JSONPatch, escape_key


def test_keys_are_escaped_for_paths() -> None:
    assert escape_key("k8s.io/my~label") == "k8s.io~1my~0label"


def test_fields_that_were_not_written_out() -> None:
    assert STRUCT_TYPE.make is not None
    patch = STRUCT_TYPE.make({"op": "remove", "path": "/a"})
    assert isinstance(patch, JSONPatch)
    assert (patch.get("op"), patch.get("from"), patch.get("value")) == ("remove", "", None)
    assert patch.has("path")
    assert not patch.has("from")
    assert not patch.has("value")
    assert JSONPatch({"value": None}).has("value")


def test_equality() -> None:
    assert JSONPatch({"op": "add", "value": 1}) == JSONPatch({"op": "add", "value": 1.0})
    assert JSONPatch({"value": None}) != JSONPatch({})
    assert JSONPatch({"op": "add"}) != JSONPatch({"op": "remove"})
    assert len({JSONPatch({"op": "add"}), JSONPatch({"op": "add"})}) == 1
