"""A place in the files of a container's log, which moves forward from file to file. Blocking: call it in a thread."""

import os
from contextlib import suppress

from kubelite.limits import LOG_SEARCH
from kubelite.node.cri.log_folder import (
    READ_BYTES,
    LogFile,
    LogPath,
    current_identity,
    following,
    opened_log_folder,
    plain_name,
    rotated_in,
    rotated_name,
)
from kubelite.node.cri.log_lines import LineReader
from kubelite.node.runtime import LogEntry, LogQuery


class LogCursor:
    """Reads a log from where `query` begins; one file is open at a time.

    Unless following, the end is where the newest file ended at the start: a container may write faster than a client
    reads.
    """

    def __init__(self, path: LogPath, query: LogQuery) -> None:
        self._path = path
        self._query = query
        self._file: LogFile | None = None
        self._after = ""  # plain name of the last rotated file that is done
        self._lines = LineReader(query.since)
        self._pending = b""  # read, but not cut into lines
        self._end: tuple[tuple[int, int], int] | None = None  # identity and size of the last file
        self.is_leaving = (
            False  # whether the file is rotated away, and only its last bytes are waited for
        )

    def open_folder(self) -> int:
        """Return a descriptor of the log's folder. Raises OSError."""
        with opened_log_folder(self._path) as folder:
            return os.dup(folder)

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def start(self) -> None:
        """Find the place to begin at. Raises OSError, FileNotFoundError when there is no log."""
        with opened_log_folder(self._path) as folder:
            newest: LogFile | None = None
            try:
                # Before the look at the folder, so that no rotation in between hides the file that it renamed.
                newest = self._opened_newest(folder)
                names = rotated_in(self._path.name, folder)
                if newest is None and not names:
                    raise FileNotFoundError(2, os.strerror(2), self._path.name)
                if self._query.tail_lines is None:
                    self._skip_early(names, folder)
                elif not self._take_tail(newest, self._query.tail_lines):
                    self._search_rotated(names, newest, folder)
            finally:
                if newest is not None and newest is not self._file:
                    newest.close()

    def _opened_newest(self, folder: int) -> LogFile | None:
        try:
            newest = LogFile(self._path.name, folder)
        except FileNotFoundError:  # between a rename and the engine's reopening
            return None
        self._end = (newest.identity, newest.size)
        return newest

    def _skip_early(self, names: list[str], folder: int) -> None:
        """Pass the rotated files that were last written before what was asked for."""
        if self._query.since is None:
            return
        since = self._query.since.timestamp()
        for name in names:
            with suppress(FileNotFoundError):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime >= since:
                    return
            self._after = plain_name(name)

    def _take_tail(self, newest: LogFile | None, lines: int) -> bool:
        """Begin in the newest file if it has enough lines."""
        self._left = lines
        if newest is None:
            return False
        newest.offset, found = tail_offset(newest, lines)
        self._left -= found
        if self._left > 0:
            return False
        self._file = newest
        return True

    def _search_rotated(self, names: list[str], newest: LogFile | None, folder: int) -> None:
        """Begin in the rotated file that has the first of the last lines, or in the oldest."""
        searched = newest.size if newest is not None else 0
        for name in reversed(names):
            if self._left <= 0 or searched > LOG_SEARCH.value:
                self._after = plain_name(name)
                return
            with suppress(FileNotFoundError):
                file = LogFile(name, folder)
                if newest is not None and file.identity == newest.identity:
                    file.close()  # it was rotated away just now
                    continue
                searched += file.size
                if self._begin_in(file):
                    return
                file.close()

    def _begin_in(self, file: LogFile) -> bool:
        if not file.is_compressed:
            file.offset, found = tail_offset(file, self._left)
        else:
            found = _count_lines(file)
            file.restart()
            if found >= self._left:
                self._pending = _skip_lines(file, found - self._left)
        self._left -= found
        if self._left > 0:
            return False
        self._file = file
        return True

    def read(self) -> list[LogEntry] | None:
        """Return the next entries, which may be none; None at the end for now. Raises OSError."""
        try:
            return self._read()
        except FileNotFoundError:  # the folder went with the pod
            return None

    def _read(self) -> list[LogEntry] | None:
        if self._file is None and not self._open_next():
            return None
        assert self._file is not None, "a file was opened"
        data, self._pending = self._pending, b""
        if not data:
            limit = self._limit(self._file)
            if limit <= 0:
                return list(self._lines.end()) or None
            data = self._file.read(limit)
        if data:
            self.is_leaving = False
            return list(self._lines.feed(data))
        if self._file.name != self._path.name:
            return self._finish(plain_name(self._file.name))
        return self._at_end(self._file)

    def _open_next(self) -> bool:
        with opened_log_folder(self._path) as folder:
            self._file = following(self._path, folder, self._after)
        file = self._file
        is_last = file is not None and file.name == self._path.name
        if file is not None and is_last and (self._end is None or self._end[0] != file.identity):
            self._end = (file.identity, file.size)
        return file is not None

    def _limit(self, file: LogFile) -> int:
        """Return how many bytes may be read now."""
        if self._query.follow or self._end is None or self._end[0] != file.identity:
            return READ_BYTES
        return min(READ_BYTES, self._end[1] - file.offset)

    def _at_end(self, file: LogFile) -> list[LogEntry] | None:
        """Return what follows the end of the file that the engine writes, or wrote until now."""
        if file.is_truncated():
            file.restart()
            return list(self._lines.end())
        with opened_log_folder(self._path) as folder:
            newest = current_identity(self._path, folder)
            if newest is None or newest == file.identity:
                return None
            if not self.is_leaving:
                # The engine makes the new file a moment before it lets go of the old one.
                self.is_leaving = True
                return []
            name = rotated_name(file, self._path, folder)
        if name:
            return self._finish(plain_name(name))
        # Compressed or removed meanwhile: what was read of it is known by its date only.
        self._lines.after = self._lines.last
        return self._finish(self._after)

    def _finish(self, name: str) -> list[LogEntry]:
        self._after = name
        self.is_leaving = False
        self.close()
        return list(self._lines.end())


def tail_offset(file: LogFile, lines: int) -> tuple[int, int]:
    """Return where the last lines of a file begin, and how many there are; never more than wanted."""
    position, needed, seen = file.size, lines, 0
    if position == 0 or lines == 0:
        return position, 0
    # The last line's own end does not count; a last line without an end counts as a line.
    if os.pread(file.descriptor, 1, position - 1) == b"\n":
        position -= 1
    while position > 0:
        if file.size - position > LOG_SEARCH.value:
            LOG_SEARCH.reached()
            return position, lines
        size = min(READ_BYTES, position)
        block = os.pread(file.descriptor, size, position - size)
        count = block.count(b"\n")
        if seen + count >= needed:
            place = len(block)
            for _ in range(needed - seen):
                place = block.rfind(b"\n", 0, place)
            return position - size + place + 1, lines
        seen += count
        position -= size
    return 0, seen + 1


def _count_lines(file: LogFile) -> int:
    count, last = 0, b"\n"
    while data := file.read():
        count += data.count(b"\n")
        last = data[-1:]
    return count + (last != b"\n")


def _skip_lines(file: LogFile, lines: int) -> bytes:
    """Read past so many lines; return what was read beyond them."""
    while lines > 0 and (data := file.read()):
        count = data.count(b"\n")
        if count >= lines:
            place = -1
            for _ in range(lines):
                place = data.find(b"\n", place + 1)
            return data[place + 1 :]
        lines -= count
    return b""
