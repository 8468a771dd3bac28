"""What a container is made from."""

import pytest

from kubelite.node.container_spec import digest_for
from kubelite.node.runtime import Image

ONE, OTHER = f"quay.io/a@sha256:{'1' * 64}", f"127.0.0.1:5000/a@sha256:{'2' * 64}"
IMAGE = Image("sha256:0", (ONE, OTHER, "quay.io/a:1"), ONE)


@pytest.mark.parametrize(
    ("reference", "digest"),
    [("127.0.0.1:5000/a", OTHER), ("127.0.0.1:5000/a:1", OTHER), (OTHER, OTHER), ("b:1", ONE)],
)
def test_the_digest_is_that_of_the_images_own_repository(reference: str, digest: str) -> None:
    assert digest_for(IMAGE, reference) == digest
    assert digest_for(Image("sha256:0", ("b:1",)), reference) == ""
