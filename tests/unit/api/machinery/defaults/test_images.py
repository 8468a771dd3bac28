import pytest

from kubelite.api.machinery.defaults.images import pull_policy

DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("localhost:5000/a/b", "Always"),
        ("localhost:5000/a/b:v1", "IfNotPresent"),
        ("registry.k8s.io/pause:3.9" + DIGEST, "IfNotPresent"),
        ("nginx" + DIGEST, "IfNotPresent"),
        ("nginx:latest" + DIGEST, "Always"),
        ("", "IfNotPresent"),
        ("Not A Name", "IfNotPresent"),
        ("UPPER/case", "Always"),
        ("a/UPPER", "IfNotPresent"),
    ],
)
def test_moving_tags_are_always_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy
