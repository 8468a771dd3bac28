"""examples/ci as a pipeline runs it: an image from a Dockerfile, a registry on the machine, a cluster, both ways."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from testbed.hosts import SOURCE, missing_tools, stop
from testbed.waiting import wait_for

from integration.cluster_host import EXAMPLES, MISSING, Command, difference, machine_state

CI = EXAMPLES / "ci"
NEEDED = [*MISSING, *missing_tools("docker", "docker-registry", "busybox")]
pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        bool(NEEDED) and not os.environ.get("CI"), reason=f"needs {', '.join(NEEDED)}"
    ),
]


@pytest.fixture(name="engine")
def start_engine(tmp_path: Path) -> Iterator[str]:
    """Start the engine of the runner, which builds and pushes; it makes neither links nor rules."""
    socket = f"unix://{tmp_path}/docker.sock"
    with (tmp_path / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "dockerd", f"--data-root={tmp_path}/docker", f"--exec-root={tmp_path}/run",
                f"--pidfile={tmp_path}/docker.pid", f"--host={socket}",
                "--bridge=none", "--iptables=false", "--ip-forward=false",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    docker = ("docker", f"--host={socket}", "version")
    wait_for(lambda: subprocess.run(docker, capture_output=True).returncode == 0, "engine", 30)
    yield socket
    stop(process)


@pytest.fixture(name="registry")
def start_registry(tmp_path: Path) -> Iterator[None]:
    config = yaml.safe_load((CI / "registry.yml").read_text())
    config["storage"]["filesystem"]["rootdirectory"] = str(tmp_path / "registry")
    file = tmp_path / "registry.yml"
    file.write_text(json.dumps(config))
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(file)], stdout=log, stderr=log)
    ask = ("curl", "-sf", "http://localhost:5000/v2/")
    wait_for(lambda: subprocess.run(ask, capture_output=True).returncode == 0, "registry", 10)
    yield
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_the_story(engine: str, registry: None, tmp_path: Path) -> None:
    copy = tmp_path / "ci"
    shutil.copytree(CI, copy)
    before = machine_state()
    command = Command(tmp_path / "clusters")
    done = subprocess.run(
        [str(copy / "story.sh")],
        capture_output=True,
        text=True,
        timeout=150,
        env={
            **command.environment,
            "PYTHONPATH": str(SOURCE),
            "KUBELITE": f"{sys.executable} -m kubelite",
            "KUBELITE_FLAGS": f"--clusters-dir {command.folder}",
            "DOCKER_HOST": engine,
            "PORT": "18090",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("the application")]
    assert said == [f"the application answers: version {number}" for number in (1, 2, 1)]
    assert done.stdout.splitlines()[-1].endswith("is deleted")
    assert not command.folder.exists()
    assert difference(before) == []


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_steps_name_files_that_exist(name: str) -> None:
    text = (CI / name).read_text()
    assert yaml.safe_load(text)
    named = {word.strip("\"'") for word in text.split() if word.startswith("examples/ci/")}
    assert {"examples/ci/story.sh", "examples/ci/registry.yml"} <= named
    assert all((EXAMPLES.parent / path).exists() for path in named)
