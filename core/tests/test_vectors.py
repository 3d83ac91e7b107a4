"""Embeddings: rounding, refusals, scores."""

import math
import struct
import sys
from array import array
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence.errors import DimensionError, InvalidValueError
from praisonai_persistence.vectors import DISTANCES, check_dimension, norm, pack, score, scores, unpack


def shown(value):
    """Return the id of a parameter: the same in every process."""
    return ascii(value).partition(" at 0x")[0][:40]


LARGEST = 3.4028234663852886e38  # of 32 bits
FINITE = st.floats(-LARGEST, LARGEST)
WIDTH32 = st.floats(-1e6, 1e6, width=32)


@given(st.lists(FINITE | st.integers(-(2**60), 2**60), min_size=1, max_size=20))
def test_packing_rounds_to_32_bits(numbers):
    packed = pack(numbers)
    assert packed.typecode == "f"
    assert packed.tolist() == [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]
    assert pack(packed) == packed


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_unpacking_little_endian_bytes(numbers):
    packed = pack(numbers)
    assert unpack(struct.pack(f"<{len(numbers)}f", *numbers)) == packed
    if sys.byteorder == "little":
        assert unpack(packed.tobytes()) == packed


def test_packing_copies():
    given_array = array("f", [1.0, 2.0])
    packed = pack(given_array)
    given_array[0] = 9.0
    assert packed.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "embedding", [[1, 2], (1.0, 2.0), array("d", [1, 2]), array("f", [1, 2]), range(1, 3)], ids=repr
)
def test_any_sequence_of_numbers_is_an_embedding(embedding):
    assert pack(embedding, 2).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("embedding", [None, [], (), array("f")], ids=repr)
def test_a_missing_embedding_is_refused(embedding):
    with pytest.raises(DimensionError, match="^the query is (missing|empty)") as caught:
        pack(embedding, what="the query")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "embedding",
    [
        [math.nan],
        [1.0, math.inf],
        [-math.inf, math.inf],
        [1e39],
        [-1e39, 0.0],
        [LARGEST * (1 + 2**-24)],
        [10**400],
        ["1"],
        "abcd",
        [None],
        [[1.0]],
        5,
        1.0,
        b"12345678",
        b"123",
        bytearray(b"1234"),
        [1j],
        object(),
    ],
    ids=shown,
)
def test_what_is_no_embedding_is_refused(embedding):
    with pytest.raises(InvalidValueError, match="^the query ") as caught:
        pack(embedding, what="the query")
    assert not isinstance(caught.value, DimensionError)


def test_the_bytes_of_an_infinity_across_two_numbers_are_none():
    numbers = array("f", bytes(2) + struct.pack("f", math.inf) + bytes(2) if sys.byteorder == "little" else bytes(8))
    assert pack(list(numbers)) == numbers


def test_the_largest_numbers_are_embeddings():
    assert pack([LARGEST] * 1000)[999] == LARGEST
    assert pack([5e-324, -0.0]).tolist() == [0.0, -0.0]


def test_dimensions():
    assert len(pack([1.0, 2.0], 2)) == 2
    for dimension in (1, 3):
        with pytest.raises(DimensionError, match=f"embedding has 2 numbers; .* dimension {dimension}"):
            pack([1.0, 2.0], dimension)
    check_dimension(3, 3)
    with pytest.raises(DimensionError, match="^query "):
        check_dimension(2, 3, "query")


# -------------------------------------------------------------------------------------------------------------- scores


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.lists(WIDTH32, min_size=n, max_size=n)] * 2)))
def test_scores_are_what_exact_arithmetic_says(pair):
    a, b = pair
    exact = [[Fraction(number) for number in vector] for vector in pair]
    product = sum(x * y for x, y in zip(*exact, strict=True))
    size = float(sum(abs(x * y) for x, y in zip(*exact, strict=True)))
    squares = float(sum((x - y) ** 2 for x, y in zip(*exact, strict=True)))
    packed = pack(a), pack(b)
    assert score("dot", *packed) == pytest.approx(float(product), rel=1e-12, abs=size * 1e-14)
    assert score("euclidean", *packed) == pytest.approx(1 / (1 + math.sqrt(squares)), rel=1e-12)
    lengths = [math.sqrt(float(sum(x * x for x in vector))) for vector in exact]
    if all(length > 1e-100 for length in lengths):
        cosine = float(product) / lengths[0] / lengths[1]
        assert score("cosine", *packed) == pytest.approx(cosine, rel=1e-9, abs=1e-12)


@given(st.lists(WIDTH32, min_size=3, max_size=3), st.lists(WIDTH32, min_size=3, max_size=3))
def test_scores_are_symmetric_and_in_their_range(a, b):
    for distance in DISTANCES:
        assert score(distance, a, b) == pytest.approx(score(distance, b, a), rel=1e-12, abs=1e-12)
    assert -1 - 1e-12 <= score("cosine", a, b) <= 1 + 1e-12
    assert 0 < score("euclidean", a, b) <= 1
    assert score("euclidean", a, a) == 1


@pytest.mark.parametrize("distance", DISTANCES)
def test_scores_of_many_are_those_of_each(distance):
    pytest.importorskip("numpy")
    vectors = [pack(numbers) for numbers in ([3, 4], [0, 0], [LARGEST, LARGEST], [1e-38, 0], [-3, 4.5], [3, 4])]
    for query in ([3, 4], [0, 0], [LARGEST, 1], [1e-38, 1e-38]):
        found = scores(distance, pack(query), vectors)
        assert found == pytest.approx([score(distance, pack(query), vector) for vector in vectors], rel=1e-12)
        assert found[0] == found[-1]
        assert scores(distance, pack(query), vectors[:1]) == pytest.approx(found[:1], rel=1e-12)
    assert scores(distance, pack([3, 4]), []) == []


def test_equal_vectors_have_equal_scores_wherever_they_stand():
    pytest.importorskip("numpy")
    vector = pack([math.sin(number) for number in range(1001)])
    for number in (4, 5, 7, 64):
        assert len(set(scores("cosine", pack([math.cos(n) for n in range(1001)]), [vector] * number))) == 1


def test_score_examples():
    assert score("cosine", [3, 4], [3, 4]) == pytest.approx(1)
    assert score("cosine", [1, 0], [-2, 0]) == -1
    assert score("cosine", [1, 0], [0, 5]) == 0
    assert score("cosine", [0, 0], [1, 0]) == 0
    assert score("cosine", [1, 0], [0, 0]) == 0
    assert score("dot", [1, 2], [3, 4]) == 11
    assert score("dot", [0, 0], [3, 4]) == 0
    assert score("euclidean", [0, 0], [3, 4]) == 1 / 6
    assert norm([3, 4]) == 5
    # Neither squares of large numbers nor of small ones get lost.
    assert score("cosine", [LARGEST, LARGEST], [LARGEST, LARGEST]) == pytest.approx(1)
    assert score("cosine", [1e-38, 0], [1e-38, 1e-38]) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_numpys_complex_numbers_are_refused_one_by_one_too(kind):
    numpy = pytest.importorskip("numpy")
    number = getattr(numpy, kind)(1 + 2j)
    for embedding in ([number, 1.0], (1.0, number), numpy.array([number])):
        with pytest.raises(InvalidValueError, match="finite numbers"):
            pack(embedding)
