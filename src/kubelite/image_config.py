"""The settings of a node's images, spelt as the kubelet and k3s spell them."""

from datetime import timedelta
from typing import Annotated

from kubelite.api.machinery.times import parse_duration
from kubelite.pod_config import PodConfig
from kubelite.settings import Setting, unusable


class ImageConfig(PodConfig, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

    private_registry: Annotated[
        str,
        Setting(
            "File of registries, their mirrors and logins (default: /etc/kubelite/registries.yaml, "
            "else agent/etc/registries.yaml in the data folder)",
            "FILE",
        ),
    ] = ""
    disable_default_registry_endpoint: Annotated[
        bool, Setting("Never pull from a registry itself if it has mirrors")
    ] = False
    serialize_image_pulls: Annotated[bool, Setting("Pull one image at a time")] = False
    max_parallel_image_pulls: Annotated[
        int, Setting("Number of images that are pulled at once", "COUNT")
    ] = 4
    registry_qps: Annotated[
        int, Setting("Number of pulls that may begin in a second; 0 for any", "COUNT")
    ] = 5
    registry_burst: Annotated[
        int, Setting("Number of pulls that may begin at once before this counts", "COUNT")
    ] = 10
    image_pull_credentials_verification_policy: Annotated[
        str,
        Setting(
            "Whether pods must prove that they may use an image that is on the node: NeverVerify, "
            "NeverVerifyPreloadedImages, NeverVerifyAllowlistedImages or AlwaysVerify",
            "POLICY",
        ),
    ] = "NeverVerifyPreloadedImages"
    preloaded_images_verification_allowlist: Annotated[
        tuple[str, ...],
        Setting(
            "Image, or prefix and /*, that NeverVerifyAllowlistedImages exempts from this", "IMAGE"
        ),
    ] = ()
    image_credential_provider_config: Annotated[
        str,
        Setting(
            "File, or folder of files, that says which programs give logins for images", "PATH"
        ),
    ] = ""
    image_credential_provider_bin_dir: Annotated[
        str, Setting("Folder of those programs", "FOLDER")
    ] = ""
    image_gc_high_threshold: Annotated[
        int,
        Setting("Use of the images' disk from which on unused images are removed", "PERCENT"),
    ] = 85
    image_gc_low_threshold: Annotated[
        int, Setting("Use of the images' disk down to which they are removed", "PERCENT")
    ] = 80
    minimum_image_ttl_duration: Annotated[
        str, Setting("Age below which an image is not removed", "DURATION")
    ] = "2m0s"
    image_maximum_gc_age: Annotated[
        str,
        Setting("Time without use after which an image is removed; 0s for never", "DURATION"),
    ] = "0s"

    @property
    def pulls_at_once(self) -> int:
        """The number of images that are pulled at once."""
        return 1 if self.serialize_image_pulls else self.max_parallel_image_pulls


def check_images(config: ImageConfig) -> None:
    """Check the settings of images. Raises InvalidConfig."""
    if config.max_parallel_image_pulls < 1:
        raise unusable(
            "max_parallel_image_pulls", config.max_parallel_image_pulls, "must be a positive number"
        )
    for field in ("registry_qps", "registry_burst"):
        if getattr(config, field) < 0:
            raise unusable(field, getattr(config, field), "must not be a negative number")
    _check_verification(config)
    for field in ("image_gc_high_threshold", "image_gc_low_threshold"):
        if not 0 <= getattr(config, field) <= 100:
            raise unusable(field, getattr(config, field), "must be between 0 and 100, inclusive")
    if config.image_gc_low_threshold >= config.image_gc_high_threshold:
        reason = f"must be less than --image-gc-high-threshold {config.image_gc_high_threshold}"
        raise unusable("image_gc_low_threshold", config.image_gc_low_threshold, reason)
    least = _duration("minimum_image_ttl_duration", config.minimum_image_ttl_duration)
    most = _duration("image_maximum_gc_age", config.image_maximum_gc_age)
    if most and most <= least:
        reason = f"must be greater than --minimum-image-ttl-duration {least}"
        raise unusable("image_maximum_gc_age", config.image_maximum_gc_age, reason)


def _duration(field: str, text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise unusable(field, text, str(error)) from None
    if found < timedelta(0):
        raise unusable(field, text, "must not be negative")
    return found


def _check_verification(config: ImageConfig) -> None:
    policy, listed = (
        config.image_pull_credentials_verification_policy,
        config.preloaded_images_verification_allowlist,
    )
    if policy == "NeverVerifyPreloadedImages" and not listed:
        return
    from kubelite.node.images.verification import ALLOWLISTED, POLICIES, pattern_problem

    if policy not in POLICIES:
        reason = f"must be one of {', '.join(POLICIES)}"
        raise unusable("image_pull_credentials_verification_policy", policy, reason)
    for pattern in listed:
        if policy != ALLOWLISTED:
            reason = f"the policy of verification must be {ALLOWLISTED}"
            raise unusable("preloaded_images_verification_allowlist", pattern, reason)
        if problem := pattern_problem(pattern):
            raise unusable("preloaded_images_verification_allowlist", pattern, problem)
