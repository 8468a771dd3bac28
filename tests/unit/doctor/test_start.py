import logging
from pathlib import Path

import pytest

from kubelite.config import Config
from kubelite.doctor import resources, start
from kubelite.doctor.resources import Resources


async def test_a_start_warns_of_what_it_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resources, "gather", lambda _: Resources(files=40))
    config = Config(data_dir=str(tmp_path), node_name="one", disable_agent=True)
    await start.warn(config)
    [said] = [one for one in caplog.records if "may open 40 files" in one.getMessage()]
    assert said.levelno == logging.WARNING
    assert said.__dict__["do"] == "raise the limit (ulimit -n, LimitNOFILE=)"


async def test_a_host_that_cannot_be_read_does_not_stop_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> Resources:
        raise PermissionError(13, "hidden")

    monkeypatch.setattr(resources, "gather", fail)
    await start.warn(Config(data_dir=str(tmp_path), node_name="one", disable_agent=True))
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
