"""Computes the privileges of a container from its security context and its pod's. Pure."""

import re
from typing import NamedTuple

from kubelite.api.kinds.core.containers import AppArmorProfile, SecurityContext
from kubelite.api.kinds.core.pods import Pod, PodSecurityContext
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.pods import AnyContainer
from kubelite.node.runtime import Image, Profile

UNCONFINED = Profile("Unconfined")
APP_ARMOR = (
    "container.apparmor.security.beta.kubernetes.io/"  # annotation, before there was a field
)
ID_MAX = 2**31 - 1
_UID = re.compile(r"([+-]?)0*([0-9]{1,19})", re.ASCII)
_SHOWN_CHARACTERS = 256  # of a name that an image gives


class Privileges(NamedTuple):
    """The security settings of one container, as a `ContainerSpec` has them."""

    user: str
    groups: tuple[int, ...]
    privileged: bool
    no_new_privileges: bool
    capabilities_add: tuple[str, ...]
    capabilities_drop: tuple[str, ...]
    read_only_root: bool
    seccomp: Profile
    apparmor: Profile
    selinux: tuple[str, ...]
    proc_unmasked: bool


def privileges_of(pod: Pod, container: AnyContainer, image: Image) -> Privileges:
    """Compute a container's privileges; raises ConfigUnavailable when it must not run as root but would."""
    own = container.securityContext or SecurityContext()
    shared = pod.spec.securityContext or PodSecurityContext()
    user = own.runAsUser if own.runAsUser is not None else shared.runAsUser
    group = own.runAsGroup if own.runAsGroup is not None else shared.runAsGroup
    _check_non_root(pod, container, own, shared, user, image)
    spelt = "" if user is None else str(user)
    if not spelt:
        spelt = _of_image(image.user, keeps_group=group is None)
    if group is not None:
        spelt = f"{spelt or '0'}:{group}"
    groups = list(shared.supplementalGroups)
    if shared.fsGroup is not None:
        groups.append(shared.fsGroup)
    capabilities = own.capabilities
    return Privileges(
        user=spelt,
        groups=tuple(groups),
        privileged=is_privileged(container),
        no_new_privileges=own.allowPrivilegeEscalation is False,
        capabilities_add=tuple(capabilities.add) if capabilities is not None else (),
        capabilities_drop=tuple(capabilities.drop) if capabilities is not None else (),
        read_only_root=bool(own.readOnlyRootFilesystem),
        seccomp=_seccomp(own, shared),
        apparmor=_apparmor(app_armor_of(pod, container)),
        selinux=_selinux(own, shared),
        proc_unmasked=own.procMount == "Unmasked",
    )


def is_privileged(container: AnyContainer) -> bool:
    """Return whether a container asks for all privileges of the host."""
    context = container.securityContext
    return context is not None and bool(context.privileged)


def user_of_image(text: str) -> tuple[int | None, str]:
    """Return the user id that an image's USER gives, or else the name; neither when it gives no user.

    As container engines read it: a sign and leading zeros are part of a number, other scripts' digits, spaces and
    numbers past 64 bits are not, and make it a name.
    """
    user = text.partition(":")[0]
    if found := _UID.fullmatch(user):
        number = int(found[1] + found[2])
        if -(2**63) <= number < 2**63:
            return number, ""
    return None, user


def _of_image(text: str, *, keeps_group: bool) -> str:
    """Return the image's user, a number in the spelling that was checked, and its group unless another is set."""
    number, name = user_of_image(text)
    user = name if number is None else str(number)
    _, colon, group = text.partition(":")
    return f"{user}:{group}" if colon and keeps_group and user else user


def _check_non_root(
    pod: Pod,
    container: AnyContainer,
    own: SecurityContext,
    shared: PodSecurityContext,
    user: int | None,
    image: Image,
) -> None:
    wanted = own.runAsNonRoot if own.runAsNonRoot is not None else shared.runAsNonRoot
    if not wanted:
        return
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", '
    where += f"container: {container.name})"
    if user == 0:
        raise ConfigUnavailable(f"container's runAsUser breaks non-root policy {where}")
    if user is not None:
        return
    number, name = user_of_image(image.user)
    if name:
        raise ConfigUnavailable(
            f"container has runAsNonRoot and image has non-numeric user ({name[:_SHOWN_CHARACTERS]}), "
            f"cannot verify user is non-root {where}"
        )
    if not number:
        raise ConfigUnavailable(f"container has runAsNonRoot and image will run as root {where}")
    if not 0 < number <= ID_MAX:
        raise ConfigUnavailable(
            f"container has runAsNonRoot and image has an invalid user id ({number}). "
            f"(Must be 1-({ID_MAX})): must be between 0 and {ID_MAX}, inclusive {where}"
        )


def _seccomp(own: SecurityContext, shared: PodSecurityContext) -> Profile:
    profile = own.seccompProfile or shared.seccompProfile
    if profile is None:
        return UNCONFINED  # as of a node that has no default
    return _profile(profile.type, profile.localhostProfile)


def app_armor_of(pod: Pod, container: AnyContainer) -> AppArmorProfile | None:
    """Return the AppArmor profile of a container; its own field, then the annotation, then the pod's field."""
    own, shared = container.securityContext, pod.spec.securityContext
    if own is not None and own.appArmorProfile is not None:
        return own.appArmorProfile
    annotated = pod.metadata.annotations.get(APP_ARMOR + container.name, "")
    if annotated == "runtime/default":
        return AppArmorProfile(type="RuntimeDefault")
    if annotated == "unconfined":
        return AppArmorProfile(type="Unconfined")
    if annotated.startswith("localhost/"):
        name = annotated.removeprefix("localhost/")
        return AppArmorProfile(type="Localhost", localhostProfile=name)
    return shared.appArmorProfile if shared is not None else None


def _apparmor(profile: AppArmorProfile | None) -> Profile:
    return Profile() if profile is None else _profile(profile.type, profile.localhostProfile)


def _profile(kind: str, name: str | None) -> Profile:
    """Return a profile; an unknown type falls back to the engine's default, never to unconfined."""
    if kind == "Localhost":
        return Profile("Localhost", name or "")
    return UNCONFINED if kind == "Unconfined" else Profile()


def _selinux(own: SecurityContext, shared: PodSecurityContext) -> tuple[str, ...]:
    options = own.seLinuxOptions or shared.seLinuxOptions
    if options is None:
        return ()
    parts = (
        ("user", options.user),
        ("role", options.role),
        ("type", options.type),
        ("level", options.level),
    )
    return tuple(f"{name}:{value}" for name, value in parts if value)
