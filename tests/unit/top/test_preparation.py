"""What a server does before its parts are joined."""

import resource
from collections.abc import Iterator

import pytest

from kubelite.preparation import allow_many_files

FILES = resource.RLIMIT_NOFILE


@pytest.fixture
def few_files() -> Iterator[int]:
    soft, hard = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (256, hard))
    yield hard
    resource.setrlimit(FILES, (soft, hard))


def test_the_first_limit_of_open_files_is_raised_to_the_last(few_files: int) -> None:
    allow_many_files()
    assert resource.getrlimit(FILES) == (few_files, few_files)
