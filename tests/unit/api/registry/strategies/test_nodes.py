from fakes.server import Server

from kubelite.api.registry.builtin import builtin_table

STATUS = {"capacity": {"cpu": "4"}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}


async def test_a_node_is_registered_with_its_status_in_one_request() -> None:
    server = Server()
    made = await server.create("v1/nodes", {"metadata": {"name": "a"}, "status": STATUS})
    assert made["status"]["capacity"] == {"cpu": "4"}
    assert made["status"]["allocatable"] == {"cpu": "4"}  # the default of a registration
    made["status"]["capacity"] = {"cpu": "9"}
    updated = await server.update("v1/nodes", "a", made)
    assert updated["status"]["capacity"] == {"cpu": "4"}  # later only its own path changes it


def test_no_other_kind_is_created_with_its_status() -> None:
    table = builtin_table()
    found = {
        row.plural
        for row in table.all()
        if row.has_status and row.strategy.conduct.created_with_status
    }
    assert found == {"nodes"}
