from typing import Any

import pytest

from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.coordination import Lease
from kubelite.api.machinery.mismatch import find_mismatch
from kubelite.api.machinery.schema import compile_struct


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"spec": []}, "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            {"spec": {"selector": {"matchLabels": {"a": True}}}},
            "bool into Go struct field LabelSelector.spec.selector.matchLabels of type string",
        ),
        (
            {"spec": {"strategy": {"rollingUpdate": {"maxSurge": {}}}}},
            "object into Go value of type int32",
        ),
    ],
)
def test_the_first_mismatch_is_worded(body: Any, message: str) -> None:
    assert find_mismatch(compile_struct(Deployment), body) == f"json: cannot unmarshal {message}"


def test_dates_must_be_texts() -> None:
    assert find_mismatch(compile_struct(Lease), {"spec": {"renewTime": 5}}) == (
        "json: cannot unmarshal number into Go value of type string"
    )
