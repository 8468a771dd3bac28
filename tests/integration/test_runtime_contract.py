"""Real engines keep the promises of a container runtime."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakes.runtime_contract import TIMEOUT_SECONDS, Place, ProcessContract, using

from integration import runtime_engines
from integration.node_host import NAME, needs_engine
from integration.runtime_engines import CRIO, NEWER_CONTAINERD, RunningEngine, needs_crio
from kubelite.node.cri.streams import CRISession

pytestmark = needs_engine
CRIO_CAPABILITIES = (
    0x5FB  # of Docker's 14, all but NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE and SETFCAP
)
OUTPUT_BYTES = 1 << 20


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[RunningEngine]:
    with runtime_engines.docker() as running:
        yield running


@pytest.fixture(scope="module")
def podman_engine() -> Iterator[RunningEngine]:
    with runtime_engines.podman() as running:
        yield running


@pytest.fixture(scope="module")
def containerd_engine() -> Iterator[RunningEngine]:
    with runtime_engines.containerd() as running:
        yield running


@pytest.fixture(scope="class")
def newer_containerd_engine() -> Iterator[RunningEngine]:
    with (
        runtime_engines.programs_first(os.environ[NEWER_CONTAINERD]),
        runtime_engines.containerd() as running,
    ):
        yield running


@pytest.fixture(scope="class")
def crio_engine() -> Iterator[RunningEngine]:
    folder = os.environ.get(CRIO, "")
    with runtime_engines.programs_first(folder), runtime_engines.crio() as running:
        yield running


def place_on(engine: RunningEngine, folder: Path, **traits: bool) -> Place:
    return Place(engine.open, engine.image, NAME, folder, **traits)


class TestDocker(ProcessContract):
    @pytest.fixture
    async def place(self, docker_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        async with using(place_on(docker_engine, tmp_path)) as made:
            yield made


@pytest.mark.skipif(
    shutil.which("podman") is None and not os.environ.get("CI"), reason="needs podman"
)
class TestPodman(ProcessContract):
    @pytest.fixture
    async def place(self, podman_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        traits = {"keeps_refusals": False, "tells_memory": False}
        async with using(place_on(podman_engine, tmp_path, **traits)) as made:
            yield made


class TestContainerd(ProcessContract):
    @pytest.fixture
    async def place(self, containerd_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        async with using(place_on(containerd_engine, tmp_path)) as made:
            yield made

    async def test_a_container_ends_although_a_client_does_not_read_its_output(
        self, place: Place
    ) -> None:
        record = await place.run(await place.sandbox(), "yes", "0123456789" * 100)
        session = await place.runtime.attach(record.id, tty=False, stdin=False)
        assert isinstance(session, CRISession)
        held = asyncio.Event()
        hold = session._connection._pause

        def note(is_held: bool) -> None:
            hold(is_held)
            held.set()

        session._connection._pause = note
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if not session.is_held:
                await held.wait()
            # More than what buffers on the way may take, so the engine itself waits.
            while (Path(record.log_path).stat().st_size) < OUTPUT_BYTES:
                await asyncio.sleep(0.02)
            await place.runtime.remove(record.id)
        assert session.is_closed


@pytest.mark.skipif(NEWER_CONTAINERD not in os.environ, reason=f"needs {NEWER_CONTAINERD}")
class TestNewerContainerd(ProcessContract):
    @pytest.fixture
    async def place(
        self, newer_containerd_engine: RunningEngine, tmp_path: Path
    ) -> AsyncIterator[Place]:
        engine = newer_containerd_engine
        made = Place(engine.open, engine.image, NAME, tmp_path, bars_programs=None)
        async with using(made):
            yield made


@needs_crio
class TestCRIO(ProcessContract):
    @pytest.fixture
    async def place(self, crio_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        made = Place(
            crio_engine.open,
            crio_engine.image,
            NAME,
            tmp_path,
            starts_process_late=False,
            bars_programs=False,
            capabilities=CRIO_CAPABILITIES,
        )
        async with using(made):
            yield made
