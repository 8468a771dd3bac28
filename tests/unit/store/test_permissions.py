import stat
from datetime import UTC, datetime
from pathlib import Path

from kubelite.store.engine import Batch
from kubelite.store.lmdb_engine import LMDBEngine
from kubelite.store.protocol import Entry
from kubelite.store.snapshots import save


def test_the_data_is_for_the_owner_only(tmp_path: Path) -> None:
    folder, snapshots = tmp_path / "db", tmp_path / "snapshots"
    engine = LMDBEngine(folder)
    engine.write(Batch([Entry("/secrets/a/b", b"{}", 1, 1)], [], [], 1, 0))
    engine.close()
    save(folder, snapshots, datetime(2026, 5, 1, tzinfo=UTC))
    paths = [folder, *folder.rglob("*"), snapshots, *snapshots.rglob("*")]
    assert len(paths) > 4
    open_to_others = [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_to_others
