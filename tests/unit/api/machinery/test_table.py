"""Tables."""

import json
from datetime import UTC, datetime

from fakes.rows import row_of

from kubelite.api.machinery.table import object_table, partial_metadata, table

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
STORED = json.dumps(
    {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": "7",
            "name": "x",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "data": {"a": "b"},
    }
).encode()
LAYOUT = row_of("", "ConfigMap").layout


def test_lists() -> None:
    made = json.loads(table(LAYOUT, [STORED, STORED], NOW, metadata={"resourceVersion": "9"}))
    assert made["kind"] == "Table"
    assert made["apiVersion"] == "meta.k8s.io/v1"
    assert made["metadata"] == {"resourceVersion": "9"}
    assert [column["name"] for column in made["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert made["columnDefinitions"][0]["format"] == "name"
    assert [each["cells"] for each in made["rows"]] == [["x", 1, "5m"]] * 2
    assert made["rows"][0]["object"] == partial_metadata(json.loads(STORED))


def test_objects_may_be_left_out_or_whole() -> None:
    whole = json.loads(object_table(LAYOUT, STORED, NOW, "Object"))
    assert whole["rows"][0]["object"] == json.loads(STORED)
    assert whole["metadata"] == {"resourceVersion": "7"}
    bare = json.loads(object_table(LAYOUT, STORED, NOW, "None"))
    assert "object" not in bare["rows"][0]


def test_finished_pods_are_marked() -> None:
    pod = json.dumps({"metadata": {"name": "x"}, "status": {"phase": "Succeeded"}}).encode()
    made = json.loads(object_table(row_of("", "Pod").layout, pod, NOW))
    assert made["rows"][0]["conditions"][0]["type"] == "Completed"
