"""Rules of how the objects of a custom resource are converted between its versions."""

from kubelite.api.machinery import causes, names
from kubelite.api.machinery.ca_bundles import ca_bundle_error
from kubelite.api.registry.rules.extensions import client_config
from kubelite.api.registry.rules.values import JSON, Out, items, one_of

REVIEW_VERSIONS = ("v1", "v1beta1")
_ONLY_WEBHOOK = "should not be set when strategy is not set to Webhook"


def conversion(out: Out, given: JSON, *, recognized: bool, bad_ca_bundle: bool) -> None:
    """Check a conversion.

    `recognized`: the webhook must speak a version of ConversionReview that is known. `bad_ca_bundle`: its bundle is
    not looked at.
    """
    path, strategy = "spec.conversion", given.get("strategy", "")
    one_of(out, f"{path}.strategy", strategy, ("None", "Webhook"))
    hook = given.get("webhook") or {}
    config, versions = hook.get("clientConfig"), items(hook, "conversionReviewVersions")
    if strategy != "Webhook":
        if config is not None:
            out.append(causes.forbidden(f"{path}.webhookClientConfig", _ONLY_WEBHOOK))
        if versions:
            out.append(causes.forbidden(f"{path}.conversionReviewVersions", _ONLY_WEBHOOK))
        return
    if config is None:
        detail = "required when strategy is set to Webhook"
        out.append(causes.required(f"{path}.webhookClientConfig", detail))
    else:
        client_config(out, f"{path}.webhookClientConfig", config)
        bundle = config.get("caBundle", "")
        if not bad_ca_bundle and (error := ca_bundle_error(bundle)):
            at = f"{path}.webhookClientConfig.caBundle"
            out.append(causes.invalid(at, bundle, error))
    _review_versions(out, f"{path}.conversionReviewVersions", versions, recognized=recognized)


def has_known_review_version(given: JSON) -> bool:
    """Return whether a conversion names a version of ConversionReview that is known, or none at all."""
    versions = items(given.get("webhook") or {}, "conversionReviewVersions")
    return not versions or any(version in REVIEW_VERSIONS for version in versions)


def _review_versions(out: Out, path: str, versions: list[str], *, recognized: bool) -> None:
    if not versions:
        out.append(causes.required(path))
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            out.append(causes.invalid(f"{path}[{index}]", version, "duplicate version"))
            continue
        seen.add(version)
        for finding in names.dns_1035_label(version):
            out.append(causes.invalid(f"{path}[{index}]", version, finding))
    if recognized and seen.isdisjoint(REVIEW_VERSIONS):
        detail = f"must include at least one of {', '.join(REVIEW_VERSIONS)}"
        out.append(causes.invalid(path, versions, detail))
