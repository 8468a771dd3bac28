"""`make bench`: measures, prints a table, writes JSON. Names of parts as arguments measure only those."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import (
    admission,
    agent_memory,
    agents,
    api,
    cluster,
    custom,
    dist,
    expensive,
    ingress,
    load,
    net,
    pods,
    rights,
    scheduling,
    store,
)
from bench.report import Figure, commit, table, write

PARTS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "store": store.measure,
    "scheduling": scheduling.measure,
    "load": load.measure,
    "api": api.measure,
    "custom": custom.measure,
    "admission": admission.measure,
    "rights": rights.measure,
    "expensive": expensive.measure,
    "ingress": ingress.measure,
    "agent-memory": agent_memory.measure,
    "agents": agents.measure,
    "pods": pods.measure,
    "net": net.measure,
    "cluster": cluster.measure,
    "dist": dist.measure,
}


def main(wanted: list[str]) -> None:
    """Measure the wanted parts, all by default."""
    figures: list[Figure] = []
    for name in wanted or PARTS:
        with tempfile.TemporaryDirectory(prefix="kubelite-bench-") as folder:
            for figure in PARTS[name](Path(folder)):
                sys.stderr.write(f"  {table([figure])}\n")
                figures.append(figure)
    sys.stdout.write(f"\ncommit {commit()}\n{table(figures)}\n\nwritten to {write(figures).name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
