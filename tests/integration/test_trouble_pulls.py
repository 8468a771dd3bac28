"""kubelite ends amid a pull and starts again: the image comes, and on containerd no layer is fetched twice."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from testbed import registry
from testbed.bed import Bed
from testbed.processes import Process
from testbed.waiting import wait_for

from integration.beds import bed_of_one, needs_bed, no_traceback, with_crio
from integration.trouble_host import Object, TroubleHost, spec

pytestmark = needs_bed
REGISTRY = "127.0.0.1:5000"
LAYERS = 4  # of a MiB; the last one is held
MANAGED = "/var/lib/kubelite/agent/image_manager"


class PullHost(TroubleHost):
    """A host with a registry that can be held in the middle of a layer."""

    def __init__(self, bed: Bed, engine: str, serves: Process) -> None:
        super().__init__(bed, engine)
        self._serves = serves
        self._held = bed.folder / "held"

    def hold(self) -> None:
        self._held.write_text(str(LAYERS))

    def let_go(self) -> None:
        self._held.unlink()

    def lines(self, image: str) -> list[list[str]]:
        """Return what the registry has sent of an image: a word, the layer, the first byte or the number of bytes."""
        words = [line.split() for line in self._serves.output().splitlines()]
        return [[one[0], *one[2:]] for one in words if len(one) == 4 and one[1] == image]

    def until_held(self, image: str) -> None:
        """Wait until all layers of an image are there but for the held one, which has begun."""
        wanted = {("sent", str(number)) for number in range(1, LAYERS)} | {("begun", str(LAYERS))}

        def is_held() -> bool:
            return wanted <= {(word, layer) for word, layer, _ in self.lines(image)}

        wait_for(is_held, "held layer", 30, self.cluster.describe)

    def intents(self) -> str:
        return self.host.run("sh", "-c", f"cat {MANAGED}/pulling/* 2>/dev/null || true")


@pytest.fixture(scope="module", params=["containerd", "docker", with_crio])
def one(request: pytest.FixtureRequest) -> Iterator[PullHost]:
    with bed_of_one(request.param) as bed:
        sizes = ",".join(["1"] * LAYERS)
        line = sys.executable, registry.__file__, "5000", str(bed.folder)
        serves = bed["alpha"].start("registry", *line, f"stopped={sizes}", f"killed={sizes}")
        wait_for(lambda: "serves" in serves.output(), "registry")
        yield PullHost(bed, request.param, serves)
        no_traceback(bed)


def _of(image: str) -> Object:
    made = spec(image)
    made["spec"]["containers"][0]["image"] = f"{REGISTRY}/{image}:1"
    return made


def _cut_off(one: PullHost, image: str, end: Callable[[], object]) -> None:
    one.hold()
    one.cluster.apply(_of(image))
    one.until_held(image)
    assert f"{REGISTRY}/{image}:1" in one.intents()
    end()
    one.restart()
    one.let_go()
    one.until_ready(image)
    begun = Counter(layer for word, layer, _ in one.lines(image) if word == "begun")
    if one.engine == "containerd":  # the others throw all away when they notice that nobody waits
        assert [begun[str(layer)] for layer in range(1, LAYERS)] == [1] * (LAYERS - 1)
        [_, (_, _, place)] = [
            line for line in one.lines(image) if line[:2] == ["begun", str(LAYERS)]
        ]
        assert int(place) > 0, "the layer in the middle of which it was is gone on with"
    assert one.intents() == ""
    [status] = one.pod(image)["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_1_a_pull_goes_on_after_a_restart(one: PullHost) -> None:
    _cut_off(one, "stopped", one.kubelite.stop)


def test_2_a_pull_goes_on_after_a_kill(one: PullHost) -> None:
    _cut_off(one, "killed", one.kubelite.kill)
