"""Rules of the metadata of embedded resources."""

from fakes.rule_samples import lines

from kubelite.api.registry.rules.embedded_metadata import embedded_metadata


def test_names_are_path_segments_and_namespaces_are_free() -> None:
    assert embedded_metadata({"metadata": {"name": "A:b"}}) == []
    assert embedded_metadata({"metadata": {"name": "a", "namespace": "b"}}) == []
    assert lines(embedded_metadata({"metadata": {"name": "a/b", "namespace": "B"}}))[0] == (
        "metadata.name: Invalid value: \"a/b\": may not contain '/'"
    )
