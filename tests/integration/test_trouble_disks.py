"""A pod that writes without end: its logs stay within their policy, on a disk that has room for little more."""

from collections.abc import Iterator

import pytest
from testbed.bed import Bed
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback
from integration.trouble_host import TroubleHost, spec

pytestmark = needs_bed
MIB = 1 << 20
LOG_BYTES, LOG_FILES = 4 * MIB, 3
DISK_BYTES = 64 * MIB
FLOOD_SECONDS = 15
LOGS = "/var/log/pods"


@pytest.fixture(scope="module")
def one() -> Iterator[TroubleHost]:
    with Bed(one_link("alpha"), engine="containerd") as bed:
        host = bed["alpha"]
        host.run("mkdir", "-p", LOGS)
        host.run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", LOGS)
        flags = f"--container-log-max-size={LOG_BYTES}", f"--container-log-max-files={LOG_FILES}"
        yield TroubleHost(bed, "containerd", *flags)
        no_traceback(bed)


def test_1_a_flood_of_output_never_fills_its_disk(one: TroubleHost) -> None:
    """The node must rotate as fast as the container writes, and throw away the oldest."""
    line = "x" * 1023
    flood = f"timeout {FLOOD_SECONDS} yes {line} | dd bs=1M iflag=fullblock 2>/memory/written"
    script = f"{flood}; echo over $(tail -n 1 /memory/written); sleep 1000"
    one.cluster.apply(spec("flood", script=script))
    one.until_ready("flood")
    most = 0
    ends: list[str] = []

    def is_over() -> bool:
        nonlocal most, ends
        used = one.host.run("sh", "-c", f"df -B1 --output=used {LOGS} | tail -n 1")
        most = max(most, int(used))
        ends = one.kubectl("logs", "flood", "--tail=1", check=False).split()
        return ends[:1] == ["over"]

    wait_for(
        is_over, "end of the flood", 60, lambda: f"{most} bytes at most; {one.cluster.describe()}"
    )
    blocks = int(ends[1].partition("+")[0])  # whole ones of a MiB
    assert blocks * MIB > 4 * DISK_BYTES
    # What is written between two looks comes on top: the policy says when a file is rotated, not how fast it grows.
    assert most <= DISK_BYTES * 3 / 4, most / MIB
    assert one.pod("flood")["status"]["containerStatuses"][0]["restartCount"] == 0
    one.kubectl("delete", "pod", "flood")
    one.until_gone("flood")
