"""Verified fakes and shared suites; the assertions of the latter explain themselves as those of tests do."""

import pytest

pytest.register_assert_rewrite("fakes.runtime_contract")
