"""The messages and methods of the Container Runtime Interface that are used, and of containerd's events and leases.

Numbers and names are those of runtime/v1/api.proto of Kubernetes, and of containerd's api/events and
api/services/leases.
"""

from typing import Annotated, Final

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Int32, Int64, Message, Timestamp, Uint32, Uint64

# NamespaceMode
POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3
# PodSandboxState
SANDBOX_READY: Final = 0
# ContainerState
CREATED, RUNNING, EXITED = 0, 1, 2
# SecurityProfile.ProfileType
PROFILES: Final = {"RuntimeDefault": 0, "Unconfined": 1, "Localhost": 2}
# MountPropagation
PROPAGATIONS: Final = {"": 0, "rprivate": 0, "rslave": 1, "rshared": 2}
# CgroupDriver
SYSTEMD_DRIVER: Final = 0
# ContainerEventType
STARTED_EVENT, STOPPED_EVENT, DELETED_EVENT = 1, 2, 3


class Nothing(Message):
    """A message of which no field is used."""


class VersionResponse(Message):
    version: Annotated[str, 1] = ""
    runtime_name: Annotated[str, 2] = ""
    runtime_version: Annotated[str, 3] = ""


class Int64Value(Message):
    value: Annotated[Int64, 1] = 0


class SandboxMetadata(Message):
    name: Annotated[str, 1] = ""
    uid: Annotated[str, 2] = ""
    namespace: Annotated[str, 3] = ""
    attempt: Annotated[Uint32, 4] = 0


class IDMapping(Message):
    host_id: Annotated[Uint32, 1] = 0
    container_id: Annotated[Uint32, 2] = 0
    length: Annotated[Uint32, 3] = 0


class UserNamespace(Message):
    mode: Annotated[Int32, 1] = POD
    uids: Annotated[list[IDMapping], 2] = []
    gids: Annotated[list[IDMapping], 3] = []


class NamespaceOptions(Message):
    network: Annotated[Int32, 1] = POD
    pid: Annotated[Int32, 2] = POD
    ipc: Annotated[Int32, 3] = POD
    target_id: Annotated[str, 4] = ""
    userns_options: Annotated[UserNamespace | None, 5] = None


class SELinuxOptions(Message):
    user: Annotated[str, 1] = ""
    role: Annotated[str, 2] = ""
    type: Annotated[str, 3] = ""
    level: Annotated[str, 4] = ""


class SecurityProfile(Message):
    profile_type: Annotated[Int32, 1] = 0
    localhost_ref: Annotated[str, 2] = ""


class SandboxSecurity(Message):
    namespace_options: Annotated[NamespaceOptions | None, 1] = None
    readonly_rootfs: Annotated[bool, 4] = False
    privileged: Annotated[bool, 6] = False
    seccomp: Annotated[SecurityProfile | None, 9] = None


class Resources(Message):
    cpu_period: Annotated[Int64, 1] = 0
    cpu_quota: Annotated[Int64, 2] = 0
    cpu_shares: Annotated[Int64, 3] = 0
    memory_limit_in_bytes: Annotated[Int64, 4] = 0
    oom_score_adj: Annotated[Int64, 5] = 0
    unified: Annotated[dict[str, str], 9] = {}


class LinuxSandbox(Message):
    cgroup_parent: Annotated[str, 1] = ""
    security_context: Annotated[SandboxSecurity | None, 2] = None
    sysctls: Annotated[dict[str, str], 3] = {}
    resources: Annotated[Resources | None, 5] = None


class SandboxConfig(Message):
    metadata: Annotated[SandboxMetadata | None, 1] = None
    hostname: Annotated[str, 2] = ""
    log_directory: Annotated[str, 3] = ""
    labels: Annotated[dict[str, str], 6] = {}
    annotations: Annotated[dict[str, str], 7] = {}
    linux: Annotated[LinuxSandbox | None, 8] = None


class RunSandboxRequest(Message):
    config: Annotated[SandboxConfig | None, 1] = None
    runtime_handler: Annotated[str, 2] = ""


class SandboxId(Message):
    """A request or an answer with the id of a sandbox alone."""

    pod_sandbox_id: Annotated[str, 1] = ""


class SandboxStatusRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    verbose: Annotated[bool, 2] = False


class SandboxStatus(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[SandboxMetadata | None, 2] = None
    state: Annotated[Int32, 3] = SANDBOX_READY
    created_at: Annotated[Int64, 4] = 0
    labels: Annotated[dict[str, str], 7] = {}
    annotations: Annotated[dict[str, str], 8] = {}


class SandboxStatusResponse(Message):
    status: Annotated[SandboxStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}


class SandboxFilter(Message):
    label_selector: Annotated[dict[str, str], 3] = {}


class ListSandboxesRequest(Message):
    filter: Annotated[SandboxFilter | None, 1] = None


class Sandbox(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[SandboxMetadata | None, 2] = None
    state: Annotated[Int32, 3] = SANDBOX_READY
    labels: Annotated[dict[str, str], 5] = {}


class ListSandboxesResponse(Message):
    items: Annotated[list[Sandbox], 1] = []


class ImageSpec(Message):
    image: Annotated[str, 1] = ""
    user_specified_image: Annotated[str, 18] = ""
    image_ref: Annotated[str, 20] = ""


class Mount(Message):
    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    readonly: Annotated[bool, 3] = False
    propagation: Annotated[Int32, 5] = 0
    uid_mappings: Annotated[list[IDMapping], 6] = []
    gid_mappings: Annotated[list[IDMapping], 7] = []
    image: Annotated[ImageSpec | None, 9] = None
    image_sub_path: Annotated[str, 10] = ""


class Capabilities(Message):
    add: Annotated[list[str], 1] = []
    drop: Annotated[list[str], 2] = []


class ContainerSecurity(Message):
    capabilities: Annotated[Capabilities | None, 1] = None
    privileged: Annotated[bool, 2] = False
    namespace_options: Annotated[NamespaceOptions | None, 3] = None
    selinux_options: Annotated[SELinuxOptions | None, 4] = None
    run_as_user: Annotated[Int64Value | None, 5] = None
    run_as_username: Annotated[str, 6] = ""
    readonly_rootfs: Annotated[bool, 7] = False
    supplemental_groups: Annotated[list[Int64], 8] = []
    no_new_privs: Annotated[bool, 11] = False
    run_as_group: Annotated[Int64Value | None, 12] = None
    masked_paths: Annotated[list[str], 13] = []
    readonly_paths: Annotated[list[str], 14] = []
    seccomp: Annotated[SecurityProfile | None, 15] = None
    apparmor: Annotated[SecurityProfile | None, 16] = None


class LinuxContainer(Message):
    resources: Annotated[Resources | None, 1] = None
    security_context: Annotated[ContainerSecurity | None, 2] = None


class ContainerMetadata(Message):
    name: Annotated[str, 1] = ""
    attempt: Annotated[Uint32, 2] = 0


class KeyValue(Message):
    key: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


class Device(Message):
    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    permissions: Annotated[str, 3] = ""


class ContainerConfig(Message):
    metadata: Annotated[ContainerMetadata | None, 1] = None
    image: Annotated[ImageSpec | None, 2] = None
    command: Annotated[list[str], 3] = []
    args: Annotated[list[str], 4] = []
    working_dir: Annotated[str, 5] = ""
    envs: Annotated[list[KeyValue], 6] = []
    mounts: Annotated[list[Mount], 7] = []
    devices: Annotated[list[Device], 8] = []
    labels: Annotated[dict[str, str], 9] = {}
    annotations: Annotated[dict[str, str], 10] = {}
    log_path: Annotated[str, 11] = ""
    stdin: Annotated[bool, 12] = False
    stdin_once: Annotated[bool, 13] = False
    tty: Annotated[bool, 14] = False
    linux: Annotated[LinuxContainer | None, 15] = None


class CreateContainerRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    config: Annotated[ContainerConfig | None, 2] = None
    sandbox_config: Annotated[SandboxConfig | None, 3] = None


class ContainerId(Message):
    """A request or an answer with the id of a container alone."""

    container_id: Annotated[str, 1] = ""


class StopContainerRequest(Message):
    container_id: Annotated[str, 1] = ""
    timeout: Annotated[Int64, 2] = 0


class ContainerFilter(Message):
    label_selector: Annotated[dict[str, str], 4] = {}


class ListContainersRequest(Message):
    filter: Annotated[ContainerFilter | None, 1] = None


class Container(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[ContainerMetadata | None, 3] = None
    state: Annotated[Int32, 6] = CREATED
    labels: Annotated[dict[str, str], 8] = {}


class ListContainersResponse(Message):
    containers: Annotated[list[Container], 1] = []


class ContainerStatusRequest(Message):
    container_id: Annotated[str, 1] = ""
    verbose: Annotated[bool, 2] = False


class ContainerStatus(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[ContainerMetadata | None, 2] = None
    state: Annotated[Int32, 3] = CREATED
    created_at: Annotated[Int64, 4] = 0
    started_at: Annotated[Int64, 5] = 0
    finished_at: Annotated[Int64, 6] = 0
    exit_code: Annotated[Int32, 7] = 0
    image_ref: Annotated[str, 9] = ""
    reason: Annotated[str, 10] = ""
    message: Annotated[str, 11] = ""
    labels: Annotated[dict[str, str], 12] = {}
    annotations: Annotated[dict[str, str], 13] = {}
    log_path: Annotated[str, 15] = ""
    image_id: Annotated[str, 17] = (
        ""  # of newer engines, whose `image_ref` may be a name with a digest
    )


class ContainerStatusResponse(Message):
    status: Annotated[ContainerStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}


class UpdateResourcesRequest(Message):
    container_id: Annotated[str, 1] = ""
    linux: Annotated[Resources | None, 2] = None


class ExecRequest(Message):
    container_id: Annotated[str, 1] = ""
    cmd: Annotated[list[str], 2] = []
    tty: Annotated[bool, 3] = False
    stdin: Annotated[bool, 4] = False
    stdout: Annotated[bool, 5] = False
    stderr: Annotated[bool, 6] = False


class AttachRequest(Message):
    container_id: Annotated[str, 1] = ""
    stdin: Annotated[bool, 2] = False
    tty: Annotated[bool, 3] = False
    stdout: Annotated[bool, 4] = False
    stderr: Annotated[bool, 5] = False


class StreamURL(Message):
    """The answer to exec and attach."""

    url: Annotated[str, 1] = ""


class Image(Message):
    id: Annotated[str, 1] = ""
    repo_tags: Annotated[list[str], 2] = []
    repo_digests: Annotated[list[str], 3] = []
    size: Annotated[Uint64, 4] = 0
    uid: Annotated[Int64Value | None, 5] = None
    username: Annotated[str, 6] = ""
    pinned: Annotated[bool, 8] = False


class ListImagesResponse(Message):
    images: Annotated[list[Image], 1] = []


class ImageStatusRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None
    verbose: Annotated[bool, 2] = False


class ImageStatusResponse(Message):
    image: Annotated[Image | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}


class FilesystemPlace(Message):
    mountpoint: Annotated[str, 1] = ""


class Filesystem(Message):
    place: Annotated[FilesystemPlace | None, 2] = None


class FilesystemsResponse(Message):
    images: Annotated[list[Filesystem], 1] = []


class AuthConfig(Message):
    username: Annotated[str, 1] = ""
    password: Annotated[str, 2] = ""
    server_address: Annotated[str, 4] = ""
    identity_token: Annotated[str, 5] = ""


class PullImageRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None
    auth: Annotated[AuthConfig | None, 2] = None


class PullImageResponse(Message):
    image_ref: Annotated[str, 1] = ""


class RemoveImageRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None


class StatusRequest(Message):
    verbose: Annotated[bool, 1] = False


class HandlerFeatures(Message):
    recursive_read_only_mounts: Annotated[bool, 1] = False
    user_namespaces: Annotated[bool, 2] = False


class RuntimeHandler(Message):
    name: Annotated[str, 1] = ""
    features: Annotated[HandlerFeatures | None, 2] = None


class StatusResponse(Message):
    info: Annotated[dict[str, str], 2] = {}
    runtime_handlers: Annotated[list[RuntimeHandler], 3] = []


class LinuxRuntimeConfig(Message):
    cgroup_driver: Annotated[Int32, 1] = SYSTEMD_DRIVER


class RuntimeConfigResponse(Message):
    linux: Annotated[LinuxRuntimeConfig | None, 1] = None


class ContainerEvent(Message):
    container_id: Annotated[str, 1] = ""
    type: Annotated[Int32, 2] = 0


class CreateLease(Message):
    id: Annotated[str, 1] = ""
    labels: Annotated[dict[str, str], 3] = {}


class DeleteLease(Message):
    id: Annotated[str, 1] = ""


class SubscribeRequest(Message):
    filters: Annotated[list[str], 1] = []


class Any(Message):
    """google.protobuf.Any."""

    type_url: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


class Envelope(Message):
    timestamp: Annotated[Timestamp | None, 1] = None
    namespace: Annotated[str, 2] = ""
    topic: Annotated[str, 3] = ""
    event: Annotated[Any | None, 4] = None


class TaskEvent(Message):
    """What is common to TaskStart, TaskExit and TaskOOM of containerd; `id` is that of an exec, if it is one's."""

    container_id: Annotated[str, 1] = ""


class TaskExit(Message):
    container_id: Annotated[str, 1] = ""
    id: Annotated[str, 2] = ""


class TaskDelete(Message):
    container_id: Annotated[str, 1] = ""
    id: Annotated[str, 5] = ""


class ContainerDelete(Message):
    id: Annotated[str, 1] = ""


_RUNTIME, _IMAGES = "/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/"
VERSION = Method(_RUNTIME + "Version", Nothing, VersionResponse)
STATUS = Method(_RUNTIME + "Status", StatusRequest, StatusResponse)
RUNTIME_CONFIG = Method(_RUNTIME + "RuntimeConfig", Nothing, RuntimeConfigResponse)
RUN_SANDBOX = Method(_RUNTIME + "RunPodSandbox", RunSandboxRequest, SandboxId)
STOP_SANDBOX = Method(_RUNTIME + "StopPodSandbox", SandboxId, Nothing)
REMOVE_SANDBOX = Method(_RUNTIME + "RemovePodSandbox", SandboxId, Nothing)
SANDBOX_STATUS = Method(_RUNTIME + "PodSandboxStatus", SandboxStatusRequest, SandboxStatusResponse)
LIST_SANDBOXES = Method(_RUNTIME + "ListPodSandbox", ListSandboxesRequest, ListSandboxesResponse)
CREATE_CONTAINER = Method(_RUNTIME + "CreateContainer", CreateContainerRequest, ContainerId)
START_CONTAINER = Method(_RUNTIME + "StartContainer", ContainerId, Nothing)
STOP_CONTAINER = Method(_RUNTIME + "StopContainer", StopContainerRequest, Nothing)
REMOVE_CONTAINER = Method(_RUNTIME + "RemoveContainer", ContainerId, Nothing)
LIST_CONTAINERS = Method(_RUNTIME + "ListContainers", ListContainersRequest, ListContainersResponse)
CONTAINER_STATUS = Method(
    _RUNTIME + "ContainerStatus", ContainerStatusRequest, ContainerStatusResponse
)
UPDATE_RESOURCES = Method(_RUNTIME + "UpdateContainerResources", UpdateResourcesRequest, Nothing)
REOPEN_LOG = Method(_RUNTIME + "ReopenContainerLog", ContainerId, Nothing)
EXEC = Method(_RUNTIME + "Exec", ExecRequest, StreamURL)
ATTACH = Method(_RUNTIME + "Attach", AttachRequest, StreamURL)
CONTAINER_EVENTS = Method(_RUNTIME + "GetContainerEvents", Nothing, ContainerEvent)
LIST_IMAGES = Method(_IMAGES + "ListImages", Nothing, ListImagesResponse)
IMAGE_STATUS = Method(_IMAGES + "ImageStatus", ImageStatusRequest, ImageStatusResponse)
PULL_IMAGE = Method(_IMAGES + "PullImage", PullImageRequest, PullImageResponse)
IMAGE_FILESYSTEMS = Method(_IMAGES + "ImageFsInfo", Nothing, FilesystemsResponse)
REMOVE_IMAGE = Method(_IMAGES + "RemoveImage", RemoveImageRequest, Nothing)
SUBSCRIBE = Method("/containerd.services.events.v1.Events/Subscribe", SubscribeRequest, Envelope)
CREATE_LEASE = Method("/containerd.services.leases.v1.Leases/Create", CreateLease, Nothing)
DELETE_LEASE = Method("/containerd.services.leases.v1.Leases/Delete", DeleteLease, Nothing)
