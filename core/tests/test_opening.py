"""Short ways that a process takes which opens one store: they give what the long ones give."""

from __future__ import annotations

import abc
import functools
import inspect
import re

import pytest

from praisonai_persistence import ConfigurationError, _entry_points, opening, registry


def _plain(url=None, *, path="x", size): ...
def _any(url=None, **others): ...
def _positional(url, /, size=1): ...
def _none(): ...


@functools.wraps(_none)
def _wrapped(**options): ...


class _Class:
    def __init__(self, url=None, *, path="x"): ...


class _Derived(_Class): ...


class _New:
    def __new__(cls, size):
        return super().__new__(cls)

    def __init__(self, size): ...


class _Type(type):
    def __call__(cls, size):
        return super().__call__()


class _Called(metaclass=_Type):
    def __init__(self): ...


class _Signed:
    __signature__ = inspect.signature(_plain)

    def __init__(self, **options): ...


class _Object:
    def __call__(self, size): ...


class _Method:
    def make(self, size=1): ...

    @classmethod
    def of(cls, url): ...


FACTORIES = [_plain, _any, _positional, _none, _wrapped, _Class, _Derived, _New, _Called, _Signed, _Object()]
FACTORIES += [_Method().make, _Method.of, functools.partial(_plain, size=1), object, dict, abc.ABC]


@pytest.mark.parametrize(
    "options", [(), ("url",), ("size",), ("url", "size"), ("path", "size"), ("self",), ("cls", "url")]
)
@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: getattr(factory, "__name__", type(factory).__name__))
def test_options_that_are_taken_without_inspect_are_those_that_inspect_takes(factory, options):
    given = dict.fromkeys(options, 1)
    if registry._surely_takes(factory, given):
        inspect.signature(factory).bind(**given)


@pytest.mark.parametrize(
    ("factory", "options"), [(_plain, ["size"]), (_any, ["x"]), (_Class, []), (_Derived, ["url", "path"])]
)
def test_usual_factories_need_no_inspect(factory, options):
    assert registry._surely_takes(factory, dict.fromkeys(options, 1))


@pytest.mark.parametrize("name", ["A", "a-b", "a_b", "a.b", "a--b", "a-_.b", "_a", "a-", "-", "", "A.B_c-D"])
def test_names_have_the_spelling_of_the_standard(name):
    assert _entry_points.normalise(name) == re.sub(r"[-_.]+", "-", name).lower()


def test_what_opens_stores_can_be_imported_from_the_registry():
    for name in registry._IN_OPENING:
        assert getattr(registry, name) is getattr(opening, name)
    assert set(opening.__all__) == registry._IN_OPENING
    with pytest.raises(AttributeError, match="no_such_name"):
        registry.no_such_name  # noqa: B018


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_must_exist_is_true_or_false(value):
    with pytest.raises(ConfigurationError, match="must_exist must be True or False"):
        opening.open_state_store("memory://", must_exist=value)


@pytest.mark.parametrize("mode", ["auto", "sync", "async"])
def test_must_exist_is_an_option_of_every_backend(mode):
    """In memory there is nothing that could be missing."""
    for kind in ("conversation", "knowledge", "state"):
        for value in (True, False):
            assert getattr(opening, f"open_{kind}_store")("memory://", mode, must_exist=value).kind == kind
            assert getattr(opening, f"create_{kind}_store")("memory", mode=mode, must_exist=value).kind == kind
