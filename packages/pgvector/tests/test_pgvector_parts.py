"""What needs no server: the searchable copy, conditions, statements, options."""

from __future__ import annotations

import json
import subprocess
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence.errors import FilterError
from praisonai_persistence.filters import parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps
from praisonai_persistence.stores.knowledge import DocumentRow, Search
from praisonai_persistence_pg import Postgres
from praisonai_persistence_pgvector._filters import ordered_text, searchable, where
from praisonai_persistence_pgvector._tables import Table, Wire, received

texts = st.text(alphabet=st.sampled_from("\0\x01\x02\x1aa\ud7ff\ud800\udbff\udfff\ue000\ue001\uf000\uffff\U00010000"))


@given(texts, texts)
def test_the_copy_of_text_keeps_order_and_beginnings(a, b):
    one, other = ordered_text(a).encode(), ordered_text(b).encode()  # which lone surrogates would refuse
    assert (one < other, one == other) == (a < b, a == b)
    assert ordered_text(a).startswith(ordered_text(b)) == a.startswith(b)
    assert b"\0" not in one


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        ({"a": 1, "b": [1.0, 0.1, -0.0, "x", None, True]}, None),
        (None, None),
        ({"a": "\0"}, {"a": "\x01\x01"}),
        ({"\ud800": 1}, {"\ue000\u0100": 1}),
        ({"a": ["\ue000"]}, {"a": ["\ue000\uf000"]}),
        ({"a": {"b": 1e30}}, {"a": {"b": 1000000000000000019884624838656}}),
        ({"a": -(2.0**60)}, {"a": -(2**60)}),
        ({"a": 2.0**53}, None),  # which is printed exactly
        ({"a": 1e-30}, None),
    ],
)
def test_what_the_copy_writes_differently(value, copy):
    found = searchable(None if value is None else dumps(value))
    assert (None if found is None else json.loads(found)) == copy


def test_values_are_bound_and_only_those_that_are_used():
    parameters = ["before"]
    sql = where(parse({"$or": [{"x') --": "'; DROP TABLE x; --"}, {"$and": [{"n": {"$gte": 2.0**70}}]}]}), parameters)
    assert "DROP" not in sql
    assert "--" not in sql
    assert parameters[1:] == ["""{"x') --":"'; DROP TABLE x; --"}""", "n", str(2**70)]
    assert sorted({part.split("::")[0] for part in sql.split("$")[1:]}) == ["2", "3", "4"]
    nothing = ["before"]
    assert where(parse({"$not": {"v": 1, "$not": {}}}), nothing).count("$") == len(nothing) - 1
    assert where(None, []) == "TRUE"


def test_a_filter_that_the_protocol_cannot_carry_is_refused():
    with pytest.raises(FilterError, match="at most"):
        where(parse({"$or": [{"v": n} for n in range(60_001)]}), [])


def table(dimension: int, distance: str = "cosine", wire: Wire = Wire()) -> Table:  # noqa: B008
    return Table(CollectionInfo("docs", dimension, distance, None), 7, Postgres("s"), "p_", wire, indexed=True)


@pytest.mark.parametrize(("wire", "first"), [(Wire(), array("f", [1, 2])), (Wire(lists=True), [1.0, 2.0])])
def test_embeddings_travel_one_behind_the_other(wire, first):
    rows = [DocumentRow(name, "c", array("f", [number]), None, None, 0.0) for number, name in ((2, "b"), (1, "a"))]
    (parameters,) = table(1, wire=wire).batches(rows)
    assert parameters[:2] == (first, ["a", "b"])


def test_embeddings_travel_in_their_own_form():
    (sent,) = Wire(vectors=True).many([array("f", [1.5, -2.0])])
    assert sent == b"\0\2\0\0\x3f\xc0\0\0\xc0\0\0\0"
    assert received(sent) == array("f", [1.5, -2.0])


def test_large_batches_are_cut():
    rows = [DocumentRow(str(n), "x" * 5_000_000, array("f", [n]), None, None, 0.0) for n in range(7)]
    assert [len(parameters[1]) for parameters in table(1).batches(rows)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("dimension", "indexable", "inline", "type_"),
    [(384, True, True, "vector_cosine_ops"), (1_599, True, False, "vector_cosine_ops"),
     (2_000, True, False, "vector_cosine_ops"), (2_001, True, False, "halfvec_cosine_ops"),
     (4_000, True, False, "halfvec_cosine_ops"), (4_001, False, False, None)],
)  # fmt: skip
def test_what_is_indexed_how(dimension, indexable, inline, type_):
    made = table(dimension)
    assert (made.indexable, made.inline) == (indexable, inline)
    assert type_ is None or type_ in made.create_indexes(16, 64)[1]
    assert ("SET STORAGE PLAIN" in made.create[-1]) is inline


def test_queries_of_strange_lengths_do_without_the_index():
    def search(*numbers: float, limit: int = 10) -> Search:
        return Search(array("f", numbers), limit, None, None, False)

    made = table(2)
    assert made.may_use_index(search(1, 1), 1_000)
    assert not made.may_use_index(search(1, 1, limit=1_001), 1_000)
    assert not made.may_use_index(search(0, 0), 1_000)
    assert not made.may_use_index(search(1e20, 0), 1_000)
    assert not table(2_500).may_use_index(search(1e-3, 0), 1_000)


def test_importing_imports_no_driver():
    code = "import sys, praisonai_persistence_pgvector; print({'asyncpg', 'psycopg'} & set(sys.modules) or '')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
