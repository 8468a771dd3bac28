"""The clock of a running server is set: its own date jumps, as libfaketime has it, and everything goes on.

The engine and the test keep the real date, so a pod's dates of both differ by as much.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from testbed.bed import Bed
from testbed.machine import Kubelite, Machine
from testbed.processes import Process
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback
from integration.trouble_host import IMAGE, Object, TroubleHost, spec
from kubelite.api.machinery.times import parse_time

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
pytestmark = [
    *needs_bed,
    pytest.mark.skipif(not LIBRARIES and not os.environ.get("CI"), reason="needs libfaketime"),
]
JUMPS = [
    pytest.param(timedelta(hours=1), id="an hour ahead"),
    pytest.param(timedelta(days=1), id="a day ahead"),
    pytest.param(timedelta(hours=23), id="an hour back"),
]
LATE = timedelta(minutes=2)
CRON: Object = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "minutely", "namespace": "default"},
    "spec": {
        "schedule": "* * * * *",
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "app", "image": IMAGE, "command": ["true"]}],
                    }
                }
            }
        },
    },
}


class SetKubelite(Kubelite):
    """A kubelite whose date differs from the real one by what a file says; its other clocks go on."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.file = machine.folder / "date"
        self.set(timedelta())

    def set(self, difference: timedelta) -> None:
        """Set the clock; it is seen within a second."""
        written = self.file.with_name("date.new")
        written.write_text(f"{difference.total_seconds():+.0f}\n")
        written.replace(self.file)

    def program(self, *arguments: str) -> tuple[str, ...]:  # type: ignore[override]  # it needs to know its file
        settings = {
            "LD_PRELOAD": LIBRARIES[0],
            "FAKETIME_TIMESTAMP_FILE": self.file,
            "FAKETIME_CACHE_DURATION": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        }
        given = [f"{name}={value}" for name, value in settings.items()]
        return "env", *given, *super().program(*arguments)


class ClockHost(TroubleHost):
    """A server whose clock is set, a pod, a CronJob, and a watch that began before."""

    def __init__(self, bed: Bed) -> None:
        super().__init__(bed, "containerd", mortal=False)
        self.cluster.apply(spec("pod"), CRON)
        self.until_ready("pod")
        self.difference = timedelta()
        line = self.cluster.kubectl_line("get", "configmaps", "-w", "-o", "name")
        self.watch: Process = self.host.start("watch", *line)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.difference

    def is_now(self, text: str) -> bool:
        return abs(parse_time(text) - self.now()) < LATE

    def lease(self) -> str:
        found = self.get("lease", "alpha", "-n", "kube-node-lease")
        return str(found["spec"]["renewTime"])

    def jobs(self) -> set[str]:
        return {job["metadata"]["name"] for job in self.get("jobs")["items"]}

    def ready(self) -> Object:
        [node] = self.get("nodes")["items"]
        return next(one for one in node["status"]["conditions"] if one["type"] == "Ready")


@pytest.fixture(scope="module")
def one() -> Iterator[ClockHost]:
    with Bed(one_link("alpha"), engine="containerd") as bed:
        bed["alpha"].kubelite = SetKubelite(bed["alpha"])
        yield ClockHost(bed)
        no_traceback(bed)


@pytest.mark.parametrize("difference", JUMPS)
def test_a_clock_that_is_set_disturbs_nothing(one: ClockHost, difference: timedelta) -> None:
    before, ready, jobs = one.pod("pod"), one.ready(), one.jobs()
    kubelite = one.host.kubelite
    assert isinstance(kubelite, SetKubelite)
    kubelite.set(difference)
    is_back, one.difference = difference < one.difference, difference
    wait_for(lambda: one.is_now(one.lease()), "renewed lease", 30, one.lease)
    if is_back:
        jobs = one.jobs()  # with one of a minute that ended before
    name = f"made-{abs(int(difference.total_seconds()))}"
    one.kubectl("create", "configmap", name)
    assert one.is_now(one.get("configmap", name)["metadata"]["creationTimestamp"])
    wait_for(lambda: f"configmap/{name}" in one.watch.output(), "word of the watch", 20)
    one.kubectl("annotate", "--overwrite", "cronjob", "minutely", f"jump={name}")
    if not is_back:  # else it waits until the dates for which it ran are over
        wait_for(lambda: one.jobs() - jobs, "job of the new date", 20, one.cluster.describe)
    one.kubectl("run", name, f"--image={IMAGE}", "--restart=Never", "--image-pull-policy=Never")
    one.until_ready(name)
    assert one.kubectl("exec", "pod", "--", "echo", "here").strip() == "here"
    # Not one for each date in between; a minute may end meanwhile.
    assert len(one.jobs() - jobs) <= (0 if is_back else 2)
    after = one.pod("pod")
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert one.ready()["lastTransitionTime"] == ready["lastTransitionTime"], "it was never NotReady"
    assert one.ready()["status"] == "True"


def test_it_starts_again_with_such_a_date(one: ClockHost) -> None:
    uid = one.pod("pod")["status"]["containerStatuses"][0]["containerID"]
    one.host.kubelite.restart()
    one.until_ready("pod")
    assert one.pod("pod")["status"]["containerStatuses"][0]["containerID"] == uid
