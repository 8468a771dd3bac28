"""How file descriptors are shared out."""

import pytest

from kubelite.limits import API_CONNECTIONS, CONNECTIONS_FOR_LOOPBACK, NODE_CONNECTIONS
from kubelite.serving.descriptors import shares


@pytest.mark.parametrize("descriptors", [256, 1024, 4096, 20_000, 65_536, 1_048_576])
def test_connections_stay_well_below_what_may_be_opened(descriptors: int) -> None:
    found = shares(descriptors)
    assert found.api >= 1
    assert found.node >= 1
    assert found.api <= API_CONNECTIONS.value
    assert found.node <= NODE_CONNECTIONS.value
    assert found.api + found.node <= descriptors * 5 // 8
    # What is left is enough for the places kept for loopback, on both ports, beside files of our own.
    assert descriptors - found.api - found.node >= min(
        2 * CONNECTIONS_FOR_LOOPBACK.value, descriptors * 3 // 8
    )


def test_a_usual_host_serves_as_many_as_the_limit_says() -> None:
    assert shares(1_048_576).api == API_CONNECTIONS.value
    assert shares(1_048_576).node == NODE_CONNECTIONS.value
    assert shares(1024).api == 384
