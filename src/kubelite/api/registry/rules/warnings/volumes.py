"""Warnings about volumes: removed and deprecated kinds, and conflicting files within one volume."""

from collections.abc import Iterator, Mapping

from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings.texts import fractional
from kubelite.limits import OBJECT_WARNINGS

_UNTIL_1_25 = "deprecated in v1.22, non-functional in v1.25+"
_UNTIL_1_31 = "deprecated in v1.28, non-functional in v1.31+"
_PHOTON = "deprecated in v1.11, non-functional in v1.16+"
_SCALE = "deprecated in v1.16, non-functional in v1.22+"
_GLUSTER = "deprecated in v1.25, non-functional in v1.26+"
# By field, in upstream's order; of pods and of PersistentVolumes.
_POD_PLUGINS: Mapping[str, str] = {
    "photonPersistentDisk": _PHOTON,
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": _SCALE,
    "flocker": _UNTIL_1_25,
    "storageos": _UNTIL_1_25,
    "quobyte": _UNTIL_1_25,
    "glusterfs": _GLUSTER,
    "cephfs": _UNTIL_1_31,
    "rbd": _UNTIL_1_31,
}
_VOLUME_PLUGINS: Mapping[str, str] = {
    "cephfs": _UNTIL_1_31,
    "photonPersistentDisk": _PHOTON,
    "scaleIO": _SCALE,
    "storageos": _UNTIL_1_25,
    "glusterfs": _GLUSTER,
    "rbd": _UNTIL_1_31,
}
_SHOWN_AS = {"storageos": "storageOS"}  # upstream's path is not spelt as its field


def volumes(path: str, found: list[JSON]) -> Iterator[str]:
    """Warn of the kinds of a pod's volumes, and of the claims made for it."""
    for index, volume in enumerate(found):
        yield from _old_plugins(f"{path}[{index}]", volume, _POD_PLUGINS)
        if (claim := part(volume, "ephemeral").get("volumeClaimTemplate")) is not None:
            at = f"{path}[{index}].ephemeral.volumeClaimTemplate.spec"
            yield from claim_spec(at, part(claim, "spec"))


def plugins(path: str, spec: JSON) -> Iterator[str]:
    """Warn of the kind of a PersistentVolume."""
    yield from _old_plugins(path, spec, _VOLUME_PLUGINS)


def _old_plugins(path: str, holder: JSON, texts: Mapping[str, str]) -> Iterator[str]:
    for field, about in texts.items():
        if holder.get(field) is not None:
            yield f"{path}.{_SHOWN_AS.get(field, field)}: {about}"


def claim_spec(path: str, spec: JSON) -> Iterator[str]:
    """Warn of a claim's size that is no integer number of bytes."""
    resources = part(spec, "resources")
    for kind in ("requests", "limits"):
        yield from fractional(f"{path}.resources.{kind}", resources.get(kind) or {}, "storage")


def overlapping_paths(found: list[JSON]) -> Iterator[str]:
    """Warn of conflicting files within one volume: equal paths, or a file in the place of a folder."""
    for volume in found:
        name = quoted(volume.get("name", ""))
        for field, title, source in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("downwardAPI", "DownwardAPI", ""),
        ):
            if (holder := volume.get(field)) is not None:
                shown = f"{title} {quoted(holder.get(source) or '')}" if source else title
                paths = [(one.get("path", ""), "") for one in items(holder, "items")]
                for overlap in _overlaps(paths):
                    yield f"volume {name} ({shown}): overlapping paths: {overlap}"
        if (projected := volume.get("projected")) is not None:
            yield from _projected(name, items(projected, "sources"))


def _projected(name: str, sources: list[JSON]) -> Iterator[str]:
    files: list[tuple[str, str]] = []
    for source in sources:
        if not any(value is not None for value in source.values()):
            yield f"volume {name} (Projected) has no sources provided"
        files += _files(source)
    for overlap in _overlaps(files):
        yield f"volume {name} (Projected): overlapping paths: {overlap}"


def _files(source: JSON) -> list[tuple[str, str]]:
    """Return the paths that a projected source writes, each with the words for where it comes from."""
    for field, title in (("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "")):
        if chosen := items(part(source, field), "items"):
            shown = f"{title} {quoted(source[field].get('name') or '')}" if title else "DownwardAPI"
            return [(one.get("path", ""), shown) for one in chosen]
    if (token := source.get("serviceAccountToken")) is not None:
        return [(token.get("path", ""), "ServiceAccountToken")]
    if (bundle := source.get("clusterTrustBundle")) is not None:
        title = quoted(bundle.get("name") or bundle.get("signerName") or "")
        return [(bundle.get("path", ""), f"ClusterTrustBundle {title}")]
    certificate = part(source, "podCertificate")
    return [
        (certificate[field], f"PodCertificate {title}")
        for field, title in (
            ("certificateChainPath", "chain"),
            ("keyPath", "key"),
            ("credentialBundlePath", "credential bundle"),
        )
        if certificate.get(field)
    ]


def _overlaps(files: list[tuple[str, str]]) -> Iterator[str]:
    """Yield each pair of paths that are equal or of which one lies below the other, the later one first.

    A volume may have thousands of files and a path thousands of folders, so the paths are sorted. Paths below a path
    then follow it, and all comparisons but one per file find a pair.
    """
    ordered = sorted(
        (f"{clean}/", position)
        for position, (path, _) in enumerate(files)
        if (clean := path.rstrip("/"))
    )
    open_paths: list[tuple[str, int]] = []  # the paths that the next one may lie below
    pairs: list[tuple[int, int]] = []
    for path, position in ordered:
        while open_paths and not path.startswith(open_paths[-1][0]):
            open_paths.pop()
        for _, other in open_paths:
            pairs.append((max(position, other), min(position, other)))
        if len(pairs) > OBJECT_WARNINGS.value:
            break  # further pairs would exceed the limit of warnings
        open_paths.append((path, position))
    for later, earlier in sorted(pairs):
        yield f"{_shown(files[later])} with {_shown(files[earlier])}"


def _shown(file: tuple[str, str]) -> str:
    path, source = file
    name = quoted(path.rstrip("/"))
    return f"{name} ({source})" if source else name
