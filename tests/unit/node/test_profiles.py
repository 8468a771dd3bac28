"""Seccomp and AppArmor profiles that an administrator has put on the node."""

import os
from pathlib import Path

import pytest

from kubelite.limits import SECCOMP_PROFILE
from kubelite.node.profiles import LoadedProfiles, Profiles, ProfileUnavailable, apparmor_enabled
from kubelite.node.runtime import ContainerSpec, Profile

ALLOW = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}'
KERNEL_LIST = """web (enforce)
strange (name) (complain)
browser (unconfined)
unconfined (enforce)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    seccomp = tmp_path / "agent" / "seccomp"
    (seccomp / "team").mkdir(parents=True)
    (seccomp / "audit.json").write_text(ALLOW)
    (seccomp / "team" / "unconfined").write_text(ALLOW)
    (tmp_path / "secret.json").write_text(ALLOW)
    (tmp_path / "profiles").write_text(KERNEL_LIST)
    return tmp_path


@pytest.fixture
def profiles(folder: Path) -> Profiles:
    return Profiles(folder / "agent" / "seccomp", folder / "profiles")


def test_a_seccomp_profile_is_a_file_below_the_folder(profiles: Profiles) -> None:
    assert profiles.seccomp("audit.json") == ALLOW
    assert profiles.seccomp("./team/unconfined") == ALLOW


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("unconfined", "No such file or directory"),
        ("builtin", "No such file or directory"),
        (ALLOW, "No such file or directory"),
        ("", "must be a relative path"),
        (".", "must be a relative path"),
        ("/etc/passwd", "must be a relative path"),
        ("../../secret.json", "must be a relative path"),
        ("team/../../../secret.json", "must be a relative path"),
        ("a\0b", "must be a relative path"),
        ("team", "is not a regular file"),
        ("a" * 5000, "File name too long"),
    ],
)
def test_no_name_is_more_than_a_name(profiles: Profiles, name: str, why: str) -> None:
    with pytest.raises(ProfileUnavailable, match="cannot load seccomp profile") as refused:
        profiles.seccomp(name)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"unconfined", "is not a seccomp profile in JSON"),
        (b"null", "is not a seccomp profile in JSON"),
        (b"[]", "is not a seccomp profile in JSON"),
        (b"{}", "is not a seccomp profile in JSON"),
        (b'{"defaultAction": 1}', "is not a seccomp profile in JSON"),
        (b'{"defaultAction": ""}', "has no default action"),
        (b'{"defaultAction": "\xff"}', "is not a seccomp profile in JSON"),
        (b'{"a": ' + b"[" * 100_000, "is not a seccomp profile in JSON"),
        (b" " * (SECCOMP_PROFILE.value + 1), "is longer than 262144 bytes"),
    ],
)
def test_what_would_confine_nothing_by_mistake_is_refused(
    profiles: Profiles, folder: Path, content: bytes, why: str
) -> None:
    (folder / "agent" / "seccomp" / "bad.json").write_bytes(content)
    with pytest.raises(ProfileUnavailable) as refused:
        profiles.seccomp("bad.json")
    assert why in str(refused.value)
    assert "defaultAction" not in str(refused.value), "a file's content is not shown"


def test_a_long_name_is_cut_in_the_message(profiles: Profiles) -> None:
    for load in (profiles.seccomp, profiles.apparmor):
        with pytest.raises(ProfileUnavailable) as refused:
            load("x" * 1_000_000)
        assert len(str(refused.value)) < 400


def test_a_pipe_does_not_hold_the_reader(profiles: Profiles, folder: Path) -> None:
    os.mkfifo(folder / "agent" / "seccomp" / "pipe")
    with pytest.raises(ProfileUnavailable, match="is not a regular file"):
        profiles.seccomp("pipe")


def test_an_app_armor_profile_must_be_loaded(profiles: Profiles) -> None:
    assert profiles.apparmor("web") == "web"
    assert profiles.apparmor("strange (name)") == "strange (name)"


@pytest.mark.parametrize("name", ["unconfined", "browser", "missing", "", "web (enforce)", "we"])
def test_a_profile_that_confines_nothing_is_not_found(profiles: Profiles, name: str) -> None:
    with pytest.raises(ProfileUnavailable, match="apparmor profile not found"):
        profiles.apparmor(name)


def test_without_the_kernels_list_there_is_no_app_armor_profile(tmp_path: Path) -> None:
    with pytest.raises(ProfileUnavailable):
        Profiles(tmp_path, tmp_path / "profiles").apparmor("web")


def test_only_profiles_of_type_localhost_are_loaded(profiles: Profiles) -> None:
    def loaded(seccomp: Profile, apparmor: Profile) -> LoadedProfiles:
        return profiles.load(
            ContainerSpec(
                pod_uid="u",
                pod_name="p",
                namespace="n",
                name="c",
                attempt=0,
                sandbox_id="s",
                image="i",
                seccomp=seccomp,
                apparmor=apparmor,
            )
        )

    assert loaded(Profile(), Profile("Unconfined", "web")) == LoadedProfiles()
    local = loaded(Profile("Localhost", "audit.json"), Profile("Localhost", "web"))
    assert local == LoadedProfiles(ALLOW, "web")


def test_app_armor_is_on_when_the_kernel_says_so(tmp_path: Path) -> None:
    switch, loaded = tmp_path / "enabled", tmp_path / "apparmor" / "profiles"
    assert not apparmor_enabled(loaded, switch)
    switch.write_text("Y\n")
    assert not apparmor_enabled(loaded, switch), "the file system is not mounted"
    loaded.parent.mkdir()
    assert apparmor_enabled(loaded, switch)
    switch.write_text("N\n")
    assert not apparmor_enabled(loaded, switch)
