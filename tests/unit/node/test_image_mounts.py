"""The folders of an image's layers, and what cannot be shown."""

from pathlib import Path
from typing import Any

import pytest

from kubelite.node.image_mounts import image_layers
from kubelite.node.runtime import RuntimeFailure


def _found(name: str, **data: str) -> dict[str, Any]:
    return {"GraphDriver": {"Name": name, "Data": data or None}}


def test_layers_are_named_from_the_top() -> None:
    found = _found("overlay2", UpperDir="/d/3/diff", LowerDir="/d/2/diff:/d/1/diff")
    assert image_layers(found) == (Path("/d/3/diff"), Path("/d/2/diff"), Path("/d/1/diff"))
    assert image_layers(_found("overlay2", UpperDir="/d/1/diff")) == (Path("/d/1/diff"),)


@pytest.mark.parametrize(
    ("found", "driver"),
    [(_found("vfs"), "vfs"), ({}, "of this engine"), (_found("overlay2"), "overlay2")],
)
def test_another_storage_driver_is_named(found: dict[str, Any], driver: str) -> None:
    with pytest.raises(RuntimeFailure, match=f"storage driver {driver}"):
        image_layers(found)
