"""The OpenRC script: a shell reads it, and the program is given the words it was made of."""

import subprocess
from pathlib import Path

from kubelite.installing.openrc import read_command, script_text
from kubelite.installing.program import Program

FLAGS = ["--tls-san=a b", "--x=\"'", "--y=\\", "--z=$HOME", "--disable-agent"]


def script(folder: Path, *, unpacks: bool = False) -> str:
    program = Program(("/opt/a b/kubelite",), unpacks=unpacks)
    return script_text("server", program, FLAGS, folder / "kubelite.env", folder / "kubelite.log")


def sourced(text: str, then: str) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", f"{text}\n{then}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_it_has_the_shape_of_a_supervised_service(tmp_path: Path) -> None:
    text = script(tmp_path)
    assert text.startswith("#!/sbin/openrc-run\n")
    assert "supervisor=supervise-daemon\n" in text
    assert "need net" in text
    functions = "need() { :; }; use() { :; }; after() { echo after $*; }; checkpath() { echo $*; }"
    assert sourced(text, f"{functions}; depend; start_pre") == [
        "after firewall docker containerd crio podman",
        f"--file --owner root:root --mode 0600 {tmp_path}/kubelite.log",
    ]


def test_the_program_is_given_its_words(tmp_path: Path) -> None:
    # openrc-run ends so: eval supervise-daemon … "${command}" -- ${command_args}
    then = 'echo "$command"; eval set -- "$command_args"; for word; do printf "%s\\n" "$word"; done'
    assert sourced(script(tmp_path), then) == ["/opt/a b/kubelite", "server", *FLAGS]
    assert list(read_command(script(tmp_path))) == ["/opt/a b/kubelite", "server", *FLAGS]
    assert read_command("#!/sbin/openrc-run\n") == ()


def test_variables_are_exported(tmp_path: Path) -> None:
    (tmp_path / "kubelite.env").write_text('KUBELITE_TOKEN="a b"\n')
    then = 'env | grep -E "^(KUBELITE_TOKEN|SHIV_ROOT)=" | sort'
    assert sourced(script(tmp_path, unpacks=True), then) == [
        "KUBELITE_TOKEN=a b",
        "SHIV_ROOT=/var/cache/kubelite",
    ]
