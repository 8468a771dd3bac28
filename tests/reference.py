"""Where facts about Kubernetes 1.36 may lie beside the checkout; tests that compare with them skip without."""

import os
from pathlib import Path

REFERENCE = Path(
    os.environ.get("KUBELITE_REFERENCE", Path(__file__).parents[2] / "shared" / "reference")
)
