"""Stories with faults, by seed; `make simulate` tells more of them."""

import pytest

from simulation.simulated_loop import run_simulated
from simulation.stories import tell

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_comes_right_after_faults(seed: int) -> None:
    run_simulated(seed, lambda: tell(seed))
