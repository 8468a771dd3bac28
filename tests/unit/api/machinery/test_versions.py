import random

import pytest

from kubelite.api.machinery.versions import version_priority

ORDERED = (
    *("v100", "v12", "v10", "v2", "v1"),
    *("v12beta1", "v3beta1", "v1beta10", "v1beta2", "v1beta1"),
    *("v12alpha1", "v11alpha2", "v2alpha1", "v1alpha2", "v1alpha1"),
    *("V1", "foo1", "foo10", "v", "v1beta", "v1gamma1", "v1-2", "v99999999999999999999", "vbeta1"),
)


@pytest.mark.parametrize("seed", range(5))
def test_versions_in_the_order_of_kubernetes(seed: int) -> None:
    shuffled = random.Random(seed).sample(ORDERED, len(ORDERED))
    expected = [*ORDERED[:15], *sorted(ORDERED[15:])]
    assert sorted(shuffled, key=version_priority) == expected


@pytest.mark.parametrize("version", ["v1\n", "v\u0661", "v1beta1\n", " v1", "v1beta"])
def test_what_is_no_version_comes_last(version: str) -> None:
    assert sorted([version, "v1alpha1"], key=version_priority) == ["v1alpha1", version]
