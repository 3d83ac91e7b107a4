"""The light ``dataclass`` and ``NamedTuple``: beside those of the standard library, of the same declarations."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from typing import Any, get_type_hints

import pytest

from praisonai_persistence import _declare, records, schema, urls
from praisonai_persistence.payload import MessageRow
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument

LIGHT = [
    ConversationSession,
    ConversationMessage,
    KnowledgeDocument,
    schema.Adoption,
    schema.LegacyTables,
    schema.SchemaChange,
    schema.SchemaStatus,
    urls.StoreURL,
]


def declare(dataclass: Any, field: Any) -> list[type]:
    @dataclass(slots=True)
    class Plain:
        """A record."""

        a: int
        b: list[int] = field(default_factory=list)
        c: str | None = None

        def __post_init__(self) -> None:
            self.c = self.c or "made"

        def double(self) -> int:
            return self.a * 2

    @dataclass(slots=True, frozen=True)
    class Frozen:
        """A frozen one."""

        a: int
        b: tuple[int, ...] = ()

    @dataclass(slots=True, frozen=True, repr=False)
    class Silent:
        """Without a repr."""

        secret: str

        def __repr__(self) -> str:
            return "Silent()"

    return [Plain, Frozen, Silent]


OURS = declare(_declare.dataclass, _declare.field)
THEIRS = declare(dataclasses.dataclass, dataclasses.field)
PAIRS = list(zip(OURS, THEIRS, strict=True))
each_pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[cls.__name__ for cls in OURS])


def outcome(function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except Exception as error:
        return type(error), str(error)


@each_pair
def test_it_makes_the_same_class(ours, theirs):
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    assert ours.__slots__ == theirs.__slots__
    assert ours.__match_args__ == theirs.__match_args__
    assert ours.__doc__ == theirs.__doc__
    assert ours.__qualname__ == theirs.__qualname__
    assert ours.__module__ == theirs.__module__
    assert (ours.__hash__ is None) == (theirs.__hash__ is None)
    assert not hasattr(ours("x"), "__dict__")
    for name in ("__init__", "__eq__"):
        assert getattr(ours, name).__qualname__.rpartition(".")[2] == name


@each_pair
@pytest.mark.parametrize("values", [(1,), (1, [2]), (1, (2,)), (), (1, 2, 3, 4)])
def test_its_objects_are_the_same(ours, theirs, values):
    one, other = outcome(ours, *values), outcome(theirs, *values)
    assert repr(one) == repr(other)
    if isinstance(one, ours):
        assert one == ours(*values)
        assert one != ours(99)
        assert one != other
        assert one.__eq__(other) is NotImplemented
        assert outcome(hash, one) == outcome(hash, other)
        name = ours.__slots__[0]
        for change in (lambda x: setattr(x, name, 5), lambda x: delattr(x, name)):
            assert outcome(change, ours(*values)) == outcome(change, theirs(*values))


def test_frozen_objects_take_no_other_attribute_either():
    frozen = OURS[1](1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.other = 5

    class Derived(OURS[1]):
        pass

    derived = Derived(1)
    derived.other = 5
    del derived.other
    with pytest.raises(dataclasses.FrozenInstanceError):
        derived.a = 5


@each_pair
def test_dataclasses_takes_it(ours, theirs):
    one, other = ours(1), theirs(1)
    assert dataclasses.is_dataclass(ours)
    assert dataclasses.is_dataclass(one)
    assert dataclasses.asdict(one) == dataclasses.asdict(other)
    assert dataclasses.astuple(one) == dataclasses.astuple(other)
    name = ours.__slots__[0]
    assert repr(dataclasses.replace(one, **{name: 7})) == repr(dataclasses.replace(other, **{name: 7}))
    described = [
        [(f.name, f.type, f.default, f.default_factory, f.init, f.repr, f.compare, f.kw_only) for f in fields]
        for fields in (dataclasses.fields(ours), dataclasses.fields(one), dataclasses.fields(theirs))
    ]
    assert described[0] == described[1] == described[2]
    assert repr(ours.__dataclass_params__) == repr(theirs.__dataclass_params__)


@each_pair
def test_a_data_class_may_derive_from_it(ours, theirs):
    frozen = ours.__dataclass_params__.frozen
    made = []
    for base in (ours, theirs):

        @dataclasses.dataclass(frozen=frozen)
        class More(base):
            more: int = 5

        made.append(More)
    one, other = (cls(1) for cls in made)
    assert str(inspect.signature(made[0])) == str(inspect.signature(made[1]))
    assert repr(one) == repr(other)
    assert dataclasses.asdict(one) == dataclasses.asdict(other)


@pytest.mark.parametrize("record", LIGHT, ids=lambda record: record.__name__)
def test_the_public_ones_can_be_copied_and_pickled(record):
    values = [f"value {number}" for number in range(len(record.__slots__))]
    one = record(*values)
    for again in [copy.copy(one), copy.deepcopy(one), *(pickle.loads(pickle.dumps(one, p)) for p in range(2, 6))]:
        assert type(again) is record
        assert again == one
        assert again is not one
    assert [f.name for f in dataclasses.fields(record)] == list(record.__slots__)
    assert set(get_annotations(record)) == set(record.__slots__)


def get_annotations(record: type) -> dict[str, Any]:
    return get_type_hints(record, vars(typing) | vars(records) | vars(schema) | {"Any": Any})


def test_pattern_matching():
    match ConversationMessage("m1", "s1", "user", "hello"):
        case ConversationMessage(item, "s1", role=role):
            assert (item, role) == ("m1", "user")
        case _:
            pytest.fail("no match")


def test_a_record_that_holds_itself_has_a_repr():
    session = ConversationSession("s")
    session.metadata = {"self": session}
    assert "..." in repr(session)


def test_derived_records_become_dictionaries_of_all_their_fields():
    @dataclasses.dataclass
    class Rated(ConversationMessage):
        stars: int = 0

    rated = Rated("m1", stars=5)
    assert rated.to_dict()["stars"] == 5
    assert rated.to_dict()["id"] == "m1"
    assert Rated.from_dict({"id": "m2", "stars": 3, "unknown": 1}).stars == 3


def test_only_classes_with_slots():
    with pytest.raises(TypeError, match="slots"):
        _declare.dataclass(slots=False)


# -------------------------------------------------------------------------------------------------------- named tuples


def declare_tuple(base: Any) -> Any:
    class Pair(base):
        """Two things."""

        first: int
        second: str = "two"

        def both(self) -> str:
            return f"{self.first}{self.second}"

    return Pair


def test_named_tuples_are_those_of_typing():
    ours, theirs = declare_tuple(_declare.NamedTuple), declare_tuple(typing.NamedTuple)
    assert str(inspect.signature(ours)).replace("'", "") == str(inspect.signature(theirs)).replace("'", "") or (
        list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    )
    assert ours._fields == theirs._fields
    assert ours._field_defaults == theirs._field_defaults
    assert ours.__doc__ == theirs.__doc__
    assert ours.__module__ == theirs.__module__
    assert ours.__mro__[1:] == theirs.__mro__[1:] == (tuple, object)
    assert ours(1) == theirs(1) == (1, "two")
    assert repr(ours(1)) == repr(theirs(1))
    assert ours(1).both() == "1two"
    assert ours(1)._replace(second="x") == (1, "x")
    assert ours(1)._asdict() == {"first": 1, "second": "two"}
    assert outcome(ours)[0] is outcome(theirs)[0] is TypeError
    assert not hasattr(ours(1), "__dict__")


def test_named_tuples_can_be_pickled():
    row = MessageRow("m", "user", "hello", None, None, None, 1.0)
    assert pickle.loads(pickle.dumps(row)) == row
    assert type(copy.copy(row)) is MessageRow
