"""An engine of our own: its log."""

from pathlib import Path

import pytest

from kubelite.limits import ENGINE_LOG
from kubelite.node.engine import cut_log


def test_a_log_is_cut_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENGINE_LOG, "value", 100)
    path = tmp_path / "docker.log"
    cut_log(path)
    assert not path.exists()
    with path.open("ab", buffering=0) as engine:  # it keeps the file open
        engine.write(b"a" * 100)
        cut_log(path)
        assert path.read_bytes() == b"a" * 100
        engine.write(b"b" * 30)
        cut_log(path)
        engine.write(b"c" * 10)
        assert path.read_bytes() == b"c" * 10
        assert (tmp_path / "docker.log.1").read_bytes() == b"a" * 20 + b"b" * 30
        engine.write(b"d" * 200)
        cut_log(path)
    assert path.read_bytes() == b""
    assert (tmp_path / "docker.log.1").read_bytes() == b"d" * 50
