"""Modules that are imported on first use."""

from __future__ import annotations

import copy
import sys

import pytest

from praisonai_persistence.drivers import LateModule


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A module of this test's own."""
    (tmp_path / "counted_module").mkdir()
    (tmp_path / "counted_module" / "__init__.py").write_text("")
    (tmp_path / "counted_module" / "inner.py").write_text("value = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield LateModule("counted_module.inner")
    for name in ("counted_module", "counted_module.inner"):
        sys.modules.pop(name, None)


def test_a_module_is_imported_on_first_use(counted):
    assert "counted_module.inner" not in sys.modules
    value = counted.value
    assert value is sys.modules["counted_module.inner"].value
    assert vars(counted)["value"] is value  # from now on nothing is looked up


def test_what_is_not_there_is_told_as_with_the_module(counted):
    with pytest.raises(AttributeError, match=r"counted_module\.inner.*'other'"):
        _ = counted.other
    with pytest.raises(ImportError):
        _ = LateModule("counted_module.nowhere").value


def test_to_look_at_it_imports_nothing(counted):
    repr(counted), hasattr(counted, "__iter__"), copy.copy(counted)
    assert "counted_module.inner" not in sys.modules
