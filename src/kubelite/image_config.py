"""The settings of a node's images, spelt as the kubelet and k3s spell them."""

from typing import Annotated

from msgspec import Struct

from kubelite.settings import Setting, unusable


class ImageConfig(Struct, frozen=True, kw_only=True):
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
    _check_verification(config)


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
