"""Runs the conformance suite: `python -m conformance PROGRAMS IMAGES OUT [NAME…]`; see docs/conformance.md.

PROGRAMS is a folder with `ginkgo`, `e2e.test` and `kubectl` of one Kubernetes release, IMAGES an archive (docker save)
of the images that the suite uses. Logs and reports go to OUT. With NAMEs only tests that contain one of them are run,
and the table in the documentation stays as it is. The hosts are network namespaces; nothing leaves the machine.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from testbed.bed import Bed
from testbed.cluster import Cluster
from testbed.engines import ENGINES
from testbed.machine import Machine
from testbed.topology import one_link
from testbed.waiting import wait_for

from conformance import results
from kubelite import __version__

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
PROCESSES = 3
SUITE_HOURS = 3
REGISTRY = "registry.k8s.io"
REGISTRY_CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/kubelite/registry}}}}
http: {{addr: "0.0.0.0:443", tls: {{certificate: /etc/registry/tls.crt, key: /etc/registry/tls.key}}}}
log: {{level: error}}
"""


def main() -> None:
    """Run the suite and print its table; exit with 1 when a test failed."""
    arguments = _arguments()
    with Bed(one_link("alpha", "beta"), engine=arguments.engine) as bed:
        _provide(bed, arguments.images)
        cluster = Cluster(bed, "alpha")
        cluster.join("beta")
        runs = [
            _run(cluster, arguments, arguments.out / kind, focus, processes)
            for kind, focus, processes in _parts(arguments.names)
        ]
        for name, text in bed.logs().items():
            path = arguments.out / f"{name.replace('/', '-')}.log"
            path.write_text(text)
    ended = results.latest(runs)
    rows = results.table(ended)
    sys.stdout.write(rows)
    if not arguments.names:
        versions = {"kubelite": __version__, "Kubernetes' suite": _version(arguments.programs)}
        DOCUMENT.write_text(
            results.replaced(DOCUMENT.read_text(), arguments.engine, versions, rows)
        )
    sys.exit(not ended or not all(result.passed for result in ended))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("conformance", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("programs", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--engine", choices=ENGINES, default="docker")
    return parser.parse_args()


def _parts(names: Sequence[str]) -> list[tuple[str, list[str], int]]:
    """Return name, flags and number of processes of each part; tests marked Serial need the cluster for themselves."""
    wanted = "|".join(map(re.escape, names)) or r"\[Conformance\]"
    serial = rf"({wanted}).*\[Serial\]|\[Serial\].*({wanted})"
    return [
        ("parallel", [f"--focus={wanted}", r"--skip=\[Serial\]"], PROCESSES),
        ("serial", [f"--focus={serial}"], 1),
    ]


def _run(
    cluster: Cluster, arguments: argparse.Namespace, out: Path, focus: list[str], processes: int
) -> list[results.Result]:
    out.mkdir(parents=True, exist_ok=True)
    programs = arguments.programs.resolve()
    line = [
        str(programs / "ginkgo"),
        "run",
        f"--procs={processes}",
        f"--timeout={SUITE_HOURS}h",
        "--no-color",
        "-v",
        "--poll-progress-after=0",
        *focus,
        str(programs / "e2e.test"),
        "--",
        f"--kubeconfig={cluster.server.kubeconfig}",
        "--provider=skeleton",
        "--disable-log-dump",
        "--dump-logs-on-failure=false",
        f"--kubectl-path={programs / 'kubectl'}",
        f"--report-dir={out.resolve()}",
    ]
    with (out / "log.txt").open("wb") as log:
        subprocess.run(
            cluster.server.command(*line, only_network=True),
            stdout=log,
            stderr=log,
            env={**os.environ, **cluster.server.environment()},
            check=False,  # it exits with 1 when a test failed
        )
    return results.read(out / "junit_01.xml")


def _version(programs: Path) -> str:
    line = [str(programs / "kubectl"), "version", "--client"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    return said.partition("Client Version: ")[2].split()[0]


def _provide(bed: Bed, images: Path) -> None:
    """Put the images into both engines, and into a registry for the tests that insist on a pull."""
    alpha = bed["alpha"]
    _certificate(alpha)
    for machine in bed:
        _trust(machine, alpha)
        machine.engine_kind.load(machine, images.resolve())
    process = alpha.start("registry", "docker-registry", "serve", "/etc/registry/config.yml")
    of_registry = [name for name in alpha.engine_kind.images(alpha) if name.startswith(REGISTRY)]
    for name in of_registry:
        look = partial(alpha.engine_kind.push, alpha, name)
        wait_for(look, f"push of {name}", 60, process.output)


def _certificate(machine: Machine) -> None:
    machine.run("mkdir", "-p", "/etc/registry")
    machine.run("tee", "/etc/registry/config.yml", stdin=REGISTRY_CONFIG.format())
    machine.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", f"/CN={REGISTRY}", "-addext", f"subjectAltName=DNS:{REGISTRY}",
        "-keyout", "/etc/registry/tls.key", "-out", "/etc/registry/tls.crt",
    )  # fmt: skip


def _trust(machine: Machine, registry: Machine) -> None:
    certificate = registry.run("cat", "/etc/registry/tls.crt")
    machine.engine_kind.trust(machine, REGISTRY, certificate)
    hosts = machine.run("cat", "/etc/hosts", check=False)
    machine.run("tee", "/etc/hosts", stdin=f"{registry.address} {REGISTRY}\n{hosts}")


main()
