"""A cluster that has what it wants leaves its disk alone."""

from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated
from simulation.stories import Story, writes_while_quiet

HOUR_SECONDS = 3600.0


async def quiet_story() -> None:
    async with SimulatedCluster(3, nodes=2) as cluster:
        story = Story(cluster)
        await story.begin()
        await story.end()
        # Nodes say that they live by a status every five minutes, and by leases.
        written = await writes_while_quiet(cluster, HOUR_SECONDS)
        assert [key for key in written if not key.startswith("/nodes.")] == []
        assert len(written) <= 2 * HOUR_SECONDS / 300


def test_nothing_is_written_when_nothing_happens() -> None:
    run_simulated(3, quiet_story)
