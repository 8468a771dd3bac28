"""Computes what a container may do from its security context and its pod's; pure."""

from typing import NamedTuple

from kubelite.api.kinds.core.containers import SecurityContext
from kubelite.api.kinds.core.pods import Pod, PodSecurityContext
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.pods import AnyContainer
from kubelite.node.runtime import Image


class Privileges(NamedTuple):
    """The security settings of one container, as a `ContainerSpec` has them."""

    user: str
    groups: tuple[int, ...]
    privileged: bool
    no_new_privileges: bool
    capabilities_add: tuple[str, ...]
    capabilities_drop: tuple[str, ...]
    read_only_root: bool
    seccomp: str
    apparmor: str
    proc_unmasked: bool


def privileges_of(pod: Pod, container: AnyContainer, image: Image) -> Privileges:
    """Compute a container's privileges; raises ConfigUnavailable when it must not run as root but would."""
    own = container.securityContext or SecurityContext()
    shared = pod.spec.securityContext or PodSecurityContext()
    user = own.runAsUser if own.runAsUser is not None else shared.runAsUser
    group = own.runAsGroup if own.runAsGroup is not None else shared.runAsGroup
    _check_non_root(pod, container, own, shared, user, image)
    spelt = "" if user is None else str(user)
    if group is not None:
        spelt = f"{spelt or image.user.partition(':')[0] or '0'}:{group}"
    groups = list(shared.supplementalGroups)
    if shared.fsGroup is not None:
        groups.append(shared.fsGroup)
    capabilities = own.capabilities
    return Privileges(
        user=spelt,
        groups=tuple(groups),
        privileged=bool(own.privileged),
        no_new_privileges=own.allowPrivilegeEscalation is False,
        capabilities_add=tuple(capabilities.add) if capabilities is not None else (),
        capabilities_drop=tuple(capabilities.drop) if capabilities is not None else (),
        read_only_root=bool(own.readOnlyRootFilesystem),
        seccomp=_seccomp(own, shared),
        apparmor=_apparmor(own, shared),
        proc_unmasked=own.procMount == "Unmasked",
    )


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
    name = image.user.partition(":")[0]
    if name in {"", "0", "root"}:
        raise ConfigUnavailable(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdecimal():
        raise ConfigUnavailable(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {where}"
        )


def _seccomp(own: SecurityContext, shared: PodSecurityContext) -> str:
    profile = own.seccompProfile or shared.seccompProfile
    if profile is None or profile.type == "Unconfined":
        return "unconfined"
    return profile.localhostProfile or "" if profile.type == "Localhost" else ""


def _apparmor(own: SecurityContext, shared: PodSecurityContext) -> str:
    profile = own.appArmorProfile or shared.appArmorProfile
    if profile is None or profile.type == "RuntimeDefault":
        return ""
    return profile.localhostProfile or "" if profile.type == "Localhost" else "unconfined"
