"""The examples of the documentation and the plugin, as pytest runs them for a reader."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubelite

SOURCE = Path(kubelite.__file__).parents[1]
PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
NEEDS_KUBECTL = '["kubectl"'


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if shutil.which("kubectl") is None:
        examples = [text for text in examples if NEEDS_KUBECTL not in text]
    for number, text in enumerate(examples):
        (tmp_path / f"test_{number}.py").write_text(text)
    count = sum(len(re.findall(r"^(?:async )?def test_", text, re.MULTILINE)) for text in examples)
    # The plugin is named, as it is not registered in an environment that was installed before it was there.
    options = ["-p", "kubelite.pytest_plugin", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} passed" in done.stdout


def test_the_plugin_imports_nothing_until_it_is_used() -> None:
    program = "import sys, kubelite.pytest_plugin; print(*[m for m in sys.modules if m.startswith('kubelite.')])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["kubelite.pytest_plugin"]
