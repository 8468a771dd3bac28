"""Specs of the Container Device Interface, and what becomes of a container by them."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.limits import CDI_SPEC, CDI_SPECS
from kubelite.node.devices.cdi import CDISpec, CDIUnavailable, read_specs, with_edits
from kubelite.node.runtime import ContainerSpec, HostDevice, Mount

NAME = "vendor.com/gpu=0"


def container(*names: str, **fields: Any) -> ContainerSpec:
    return ContainerSpec("u", "pod", "ns", "app", 0, "s", "i", cdi_devices=names, **fields)


def spec(device: dict[str, Any], common: dict[str, Any] | None = None) -> CDISpec:
    body = {
        "kind": "vendor.com/gpu",
        "devices": [{"name": "0", "containerEdits": device}, {"name": "1"}],
        "containerEdits": common or {},
    }
    return msgspec.convert(body, CDISpec)


def test_edits_of_device_and_kind_are_applied_once() -> None:
    device = {
        "env": ["GPU=0", "EMPTY="],
        "deviceNodes": [
            {"path": "/dev/gpu0", "hostPath": "/dev/null", "permissions": "rw"},
            {"path": "/dev/zero"},
        ],
        "additionalGids": [44, 0],
    }
    mount = {"hostPath": "/opt", "containerPath": "/lib/gpu", "options": ["ro", "rbind", "rslave"]}
    found = with_edits(
        container(NAME, "vendor.com/gpu=1", environment=(("GPU", "own"), ("A", "1")), groups=(7,)),
        [spec(device, {"mounts": [mount], "env": ["COMMON=1"]})],
    )
    assert found.cdi_devices == ()
    assert dict(found.environment) == {"GPU": "0", "A": "1", "EMPTY": "", "COMMON": "1"}
    assert found.devices == (
        HostDevice("/dev/null", "/dev/gpu0", "rw"),
        HostDevice("/dev/zero", "/dev/zero", "rwm"),
    )
    assert found.mounts == (Mount("/opt", "/lib/gpu", read_only=True, propagation="rslave"),)
    assert found.groups == (7, 44)


@pytest.mark.parametrize(
    ("names", "device", "message"),
    [
        (("a.b/c=0", "x"), {}, "unresolvable CDI devices a.b/c=0, x"),
        ((NAME,), {"hooks": [{"hookName": "createContainer"}]}, "cannot run the hooks"),
        (
            (NAME,),
            {"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["uid=3"]}]},
            "no mount option uid=3",
        ),
    ],
)
def test_what_cannot_be_applied_is_refused(
    names: tuple[str, ...], device: dict[str, Any], message: str
) -> None:
    with pytest.raises(CDIUnavailable, match=message):
        with_edits(container(*names), [spec(device)])


def write(folder: Path, name: str, kind: str) -> None:
    folder.mkdir(exist_ok=True)
    folder.joinpath(name).write_text(f"cdiVersion: 0.6.0\nkind: {kind}\ndevices:\n- name: '0'\n")


def test_specs_of_the_later_folder_count_first(tmp_path: Path) -> None:
    write(tmp_path / "etc", "a.yaml", "vendor.com/a")
    write(tmp_path / "run", "b.yml", "vendor.com/b")
    write(tmp_path / "run", "c.txt", "vendor.com/c")
    found = read_specs((tmp_path / "etc", tmp_path / "run", tmp_path / "none"))
    assert [one.kind for one in found] == ["vendor.com/b", "vendor.com/a"]


def test_files_that_are_no_specs_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CDI_SPEC, "value", 200)
    os.mkfifo(tmp_path / "fifo.json")
    tmp_path.joinpath("folder.json").mkdir()
    tmp_path.joinpath("large.json").write_text(" " * 201 + "{}")
    tmp_path.joinpath("bad.json").write_text("{")
    tmp_path.joinpath("bad.yaml").write_text("a: [")
    tmp_path.joinpath("other.yaml").write_text("kind: 3")
    tmp_path.joinpath("gone.json").symlink_to("nowhere")
    write(tmp_path, "good.yaml", "vendor.com/a")
    assert [one.kind for one in read_specs((tmp_path,))] == ["vendor.com/a"]


def test_specs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CDI_SPECS, "value", 2)
    for number in range(3):
        write(tmp_path, f"{number}.yaml", f"vendor.com/{number}")
    assert len(read_specs((tmp_path,))) == 2
