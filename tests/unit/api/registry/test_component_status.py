import msgspec
import pytest
from fakes.server import Server

from kubelite.api.errors import NotFound


async def test_components_are_asked_anew_for_each_answer() -> None:
    problems = {"scheduler": "", "etcd-0": ""}
    probes = {name: lambda name=name: problems[name] for name in problems}
    server = Server(probes=probes)
    assert server.names("v1/componentstatuses") == ["etcd-0", "scheduler"]
    assert server.get("v1/componentstatuses", "etcd-0")["conditions"] == [
        {"type": "Healthy", "status": "True", "message": "ok"}
    ]
    problems["etcd-0"] = "disk full"
    shown = msgspec.json.decode(server.list("v1/componentstatuses").items[0])
    assert shown["conditions"] == [{"type": "Healthy", "status": "False", "error": "disk full"}]
    with pytest.raises(NotFound):
        server.get("v1/componentstatuses", "none")
