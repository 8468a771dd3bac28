"""Finds the seccomp and AppArmor profiles that an administrator has put on this node. Blocking: call it in a thread.

A pod names a profile, never gives one: a seccomp profile is a file below the node's folder for them, an AppArmor
profile one that the kernel has loaded. What the engine gets is the file's content or a loaded profile's name.
"""

import os
import stat
from pathlib import Path, PurePosixPath

import msgspec
from msgspec import Struct

from kubelite.limits import SECCOMP_PROFILE
from kubelite.node.runtime import ContainerSpec, RuntimeFailure

LOADED_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
APPARMOR_SWITCH = Path("/sys/module/apparmor/parameters/enabled")
SHOWN_CHARACTERS = 256  # of a name that a pod gives, in a message that its status will hold


class ProfileUnavailable(RuntimeFailure):
    """The node has no such profile, or one that confines nothing."""


class LoadedProfiles(Struct, frozen=True):
    """The resolved profiles of type Localhost of a container; empty where it has none."""

    seccomp: str = ""  # JSON
    apparmor: str = ""


class _Filter(Struct, rename="camel"):
    """The one field that each seccomp profile must have; without it a profile allows everything."""

    default_action: str


class Profiles:
    """The profiles of one node."""

    def __init__(self, seccomp_root: Path, loaded: Path = LOADED_PROFILES) -> None:
        """`seccomp_root` is the folder of seccomp profiles, `loaded` the kernel's list of AppArmor profiles."""
        self._seccomp_root = seccomp_root
        self._loaded = loaded

    def load(self, spec: ContainerSpec) -> LoadedProfiles:
        """Resolve a container's profiles of type Localhost. Raises ProfileUnavailable."""
        seccomp = apparmor = ""
        if spec.seccomp.type == "Localhost":
            seccomp = self.seccomp(spec.seccomp.name)
        if spec.apparmor.type == "Localhost":
            apparmor = self.apparmor(spec.apparmor.name)
        return LoadedProfiles(seccomp, apparmor)

    def seccomp_file(self, name: str) -> Path:
        """Return the path of a seccomp profile that `seccomp` has accepted."""
        return self._seccomp_root / name

    def seccomp(self, name: str) -> str:
        """Return the content of a seccomp profile; raises ProfileUnavailable."""
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise _no_seccomp(name, "must be a relative path below the node's folder of profiles")
        try:
            content = _read(self._seccomp_root / path)
        except OSError as error:
            raise _no_seccomp(name, error.strerror or "cannot be read") from error
        try:
            text = content.decode()
            action = msgspec.json.decode(text, type=_Filter).default_action
        except (ValueError, RecursionError) as error:
            raise _no_seccomp(name, "is not a seccomp profile in JSON") from error
        if not action:
            raise _no_seccomp(name, "has no default action")
        return text

    def apparmor(self, name: str) -> str:
        """Return the name of a loaded AppArmor profile; raises ProfileUnavailable."""
        try:
            with self._loaded.open(encoding="utf-8", errors="surrogateescape") as lines:
                modes = dict(_profile_and_mode(line) for line in lines)
        except OSError:
            modes = {}
        # A profile in the mode unconfined confines nothing, whatever its name.
        if name == "unconfined" or modes.get(name, "unconfined") == "unconfined":
            raise ProfileUnavailable(f'apparmor profile not found: "{name[:SHOWN_CHARACTERS]}"')
        return name


def apparmor_enabled(loaded: Path = LOADED_PROFILES, switch: Path = APPARMOR_SWITCH) -> bool:
    """Return whether this host's kernel enforces AppArmor profiles."""
    try:
        return loaded.parent.is_dir() and switch.read_text().startswith("Y")
    except OSError:
        return False


def _read(path: Path) -> bytes:
    """Read a regular file whole; raises OSError, for one that is too long as well."""
    # Opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(SECCOMP_PROFILE.value + 1)
    finally:
        os.close(descriptor)
    if len(content) > SECCOMP_PROFILE.value:
        SECCOMP_PROFILE.reached()
        raise OSError(0, f"is longer than {SECCOMP_PROFILE.value} {SECCOMP_PROFILE.unit}")
    return content


def _no_seccomp(name: str, why: str) -> ProfileUnavailable:
    return ProfileUnavailable(f'cannot load seccomp profile "{name[:SHOWN_CHARACTERS]}": {why}')


def _profile_and_mode(line: str) -> tuple[str, str]:
    name, _, mode = line.rstrip("\n").rpartition(" (")
    return name, mode.removesuffix(")")
