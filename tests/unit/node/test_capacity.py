import msgspec
import pytest

from kubelite.api.machinery.quantity import canonical_quantity
from kubelite.node.registration import allocatable_of, capacity_of
from kubelite.node.simulated.node import DEFAULT_MACHINE


@pytest.mark.parametrize("memory_bytes", [16 << 30, (16 << 30) - (1 << 20), 8_345_678_000])
def test_quantities_are_written_as_the_api_stores_them(memory_bytes: int) -> None:
    machine = msgspec.structs.replace(DEFAULT_MACHINE, memory_bytes=memory_bytes)
    for quantities in (capacity_of(machine, 110), allocatable_of(machine, 110)):
        assert quantities == {name: canonical_quantity(text) for name, text in quantities.items()}
