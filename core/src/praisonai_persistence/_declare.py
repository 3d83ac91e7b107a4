"""``NamedTuple``, ``dataclass``, ``field`` and ``overload``, for modules that a process loads when it starts.

They do what those of ``typing`` and ``dataclasses`` do, as far as this project uses them, without importing these: that
takes longer than everything else that a first write needs. Type checkers see the originals.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field
    from typing import Any, NamedTuple, overload
else:
    from collections import namedtuple
    from operator import attrgetter

__all__ = ["NamedTuple", "dataclass", "field", "overload"]

if not TYPE_CHECKING:

    def overload(function: Callable[..., Any]) -> Callable[..., Any]:
        """Mark a signature, for type checkers only."""
        return function

    # ------------------------------------------------------------------------------------------------- named tuples

    class _NamedTupleType(type):
        def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = list(namespace.get("__annotations__", ()))
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            for key, value in namespace.items():
                if key not in {"__module__", "__slots__", "__classcell__"}:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_NamedTupleType):
        """Base of a class whose annotations become the fields of a tuple. Fields with defaults come last."""

    # ------------------------------------------------------------------------------------------------- data classes

    class _Factory:
        """Stands in a signature for a default that is made for each object, and shows there as in ``dataclasses``."""

        def __repr__(self) -> str:
            return "<factory>"

    _FACTORY = _Factory()

    class _Field:
        __slots__ = ("default_factory",)

        def __init__(self, default_factory: Callable[[], Any]) -> None:
            self.default_factory = default_factory

    def field(*, default_factory: Callable[[], Any]) -> Any:
        """Declare a field whose default is made for each object."""
        return _Field(default_factory)

    def dataclass(*, slots: bool, frozen: bool = False, repr: bool = True) -> Callable[[type], type]:  # noqa: A002
        """Make a class with slots of one with annotations: constructor, equality, repr, hash, pattern matching.

        The functions of ``dataclasses`` (``fields``, ``replace``, ``asdict`` ...) take its objects, and a data class
        may derive from it.

        Args:
            slots: must be true.
            frozen: whether fields cannot be assigned; such objects have a hash.
            repr: whether to write ``__repr__``.
        """
        if not slots:
            raise TypeError("dataclass of praisonai_persistence._declare makes classes with slots only")
        return lambda cls: _make(cls, frozen, repr)

    def _make(cls: type, frozen: bool, with_repr: bool) -> type:
        given = dict(cls.__dict__)
        names = tuple(given.get("__annotations__", ()))
        defaults = {name: given.pop(name) for name in names if name in given}
        given.pop("__dict__", None)
        given.pop("__weakref__", None)
        given["__slots__"] = given["__match_args__"] = names
        given["__qualname__"] = cls.__qualname__
        given["__init__"] = _make_init(cls, names, defaults, frozen)
        values = attrgetter(*names) if len(names) > 1 else lambda record, get=attrgetter(*names): (get(record),)

        def equal(self: Any, other: object) -> Any:
            return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

        given["__eq__"] = equal
        given["__hash__"] = None
        if frozen:
            given["__hash__"] = lambda self: hash(values(self))
            given["__setattr__"] = _refuse("assign to", object.__setattr__, names)
            given["__delattr__"] = _refuse("delete", object.__delattr__, names)
            given["__getstate__"] = lambda self: list(values(self))
            given["__setstate__"] = _set_state(names)
        if with_repr:
            from reprlib import recursive_repr

            @recursive_repr()
            def show(self: Any) -> str:
                parts = ", ".join([f"{name}={value!r}" for name, value in zip(names, values(self), strict=True)])
                return f"{self.__class__.__qualname__}({parts})"

            given["__repr__"] = show
        given.setdefault("__replace__", _replace)
        made = type(cls)(cls.__name__, cls.__bases__, given)
        for item in (
            "__init__",
            "__eq__",
            "__hash__",
            "__repr__",
            "__setattr__",
            "__delattr__",
            "__getstate__",
            "__setstate__",
        ):
            function = made.__dict__.get(item)
            if function is not None and function is not cls.__dict__.get(item):
                function.__name__, function.__qualname__ = item, f"{cls.__qualname__}.{item}"
                function.__module__ = cls.__module__
        twin = _Twin(cls, defaults, frozen, with_repr)
        made.__dataclass_fields__, made.__dataclass_params__ = twin.describe("fields"), twin.describe("params")
        return made

    def _make_init(cls: type, names: tuple[str, ...], defaults: dict[str, Any], frozen: bool) -> Callable[..., None]:
        """Compile the constructor: no slower than the one that one would write."""
        names_of: dict[str, Any] = {"_FACTORY": _FACTORY, "_set": object.__setattr__}
        parameters, lines = [], []
        for name in names:
            value = name
            parameter = name
            if name in defaults:
                default = defaults[name]
                parameter = f"{name}=_default_{name}"
                names_of[f"_default_{name}"] = default
                if isinstance(default, _Field):
                    names_of[f"_default_{name}"] = _FACTORY
                    names_of[f"_make_{name}"] = default.default_factory
                    value = f"_make_{name}() if {name} is _FACTORY else {name}"
            parameters.append(parameter)
            lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        body = "\n ".join(lines)
        exec(f"def __init__(self, {', '.join(parameters)}):\n {body}", names_of)  # noqa: S102  of our own names only
        init = names_of["__init__"]
        init.__annotations__ = {**cls.__annotations__, "return": None}
        return init

    def _refuse(verb: str, otherwise: Callable[..., None], names: tuple[str, ...]) -> Callable[..., None]:
        def refuse(self: Any, name: str, *value: Any) -> None:
            if name not in names and hasattr(self, "__dict__"):  # an attribute that a derived class adds
                return otherwise(self, name, *value)
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot {verb} field {name!r}")

        return refuse

    def _set_state(names: tuple[str, ...]) -> Callable[..., None]:
        def set_state(self: Any, state: list[Any]) -> None:
            for name, value in zip(names, state, strict=True):
                object.__setattr__(self, name, value)

        return set_state

    def _replace(self: Any, /, **changes: Any) -> Any:
        from dataclasses import replace

        return replace(self, **changes)

    class _Twin:
        """A data class of ``dataclasses`` with the same fields, which is made when somebody asks what they are."""

        def __init__(self, cls: type, defaults: dict[str, Any], frozen: bool, with_repr: bool) -> None:
            self._given = (cls, defaults, frozen, with_repr)
            self._made: type | None = None

        def describe(self, what: str) -> _Description:
            return _Description(self, f"__dataclass_{what}__")

        def make(self) -> type:
            if self._made is None:
                import dataclasses

                cls, defaults, frozen, with_repr = self._given
                namespace = {"__annotations__": cls.__annotations__, "__module__": cls.__module__, "__doc__": ""}
                for name, default in defaults.items():
                    is_field = isinstance(default, _Field)
                    namespace[name] = (
                        dataclasses.field(default_factory=default.default_factory) if is_field else default
                    )
                twin = type(cls.__name__, (), namespace)
                self._made = dataclasses.dataclass(slots=True, frozen=frozen, repr=with_repr)(twin)
            return self._made

    class _Description:
        """``__dataclass_fields__`` and ``__dataclass_params__``, made when they are read."""

        def __init__(self, twin: _Twin, name: str) -> None:
            self._twin = twin
            self._name = name

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            return getattr(self._twin.make(), self._name)
