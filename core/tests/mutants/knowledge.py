"""Knowledge stores with one mistake each. The suite must catch every one of them; see ``state``."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from dataclasses import replace
from typing import Any, ClassVar

from mutants.running import Mutant, pause

from praisonai_persistence import filters as language
from praisonai_persistence.errors import (
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    DimensionLimitError,
    DocumentExistsError,
)
from praisonai_persistence.filters import And, Compare, Not, Or
from praisonai_persistence.memory import MemoryKnowledgeSteps, MemoryKnowledgeStore
from praisonai_persistence.memory._data import open_data
from praisonai_persistence.memory.knowledge import Collections, selected
from praisonai_persistence.payload import check_prefix, dumps, loads
from praisonai_persistence.steps import done, reads, writes
from praisonai_persistence.stores import AsyncStepKnowledgeStore, DirectRunner, ThreadRunner
from praisonai_persistence.vectors import check_dimension


class Plain(MemoryKnowledgeStore):
    """Nothing."""

    clause: ClassVar[str] = ""
    steps: ClassVar[type[MemoryKnowledgeSteps]] = MemoryKnowledgeSteps

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(url, name=name, table_prefix=table_prefix)
        self._steps = self.steps(open_data(url, name), check_prefix(table_prefix))


class AsyncPlain(AsyncStepKnowledgeStore):
    """The async twin of the mutants that are mistakes of the steps: on threads, so that tasks do get mixed up."""

    backend: ClassVar[str] = "memory"
    capabilities: ClassVar[frozenset[str]] = frozenset({"prefix", "atomic_batch"})
    steps: ClassVar[type[MemoryKnowledgeSteps]] = MemoryKnowledgeSteps

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self.steps(open_data(url, name), check_prefix(table_prefix)), ThreadRunner(DirectRunner()))


def rewritten(tree, change):
    """Return a filter with ``change`` made at every comparison; a result of None is a comparison left out."""
    if tree is None:
        return None
    if isinstance(tree, Not):
        part = rewritten(tree.part, change)
        return None if part is None else Not(part)
    if isinstance(tree, (And, Or)):
        parts = tuple(part for part in (rewritten(part, change) for part in tree.parts) if part is not None)
        return type(tree)(parts) if parts or not tree.parts else None
    return change(tree)


class Filtering(Plain):
    """Base of the mutants that understand filters wrongly: ``change`` rewrites each comparison."""

    @staticmethod
    def change(compare: Compare) -> Any:
        return compare

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        right, change = self._steps, self.change

        class Steps(type(right)):
            def search(self, collection, search):
                return super().search(collection, search._replace(filters=rewritten(search.filters, change)))

            def count(self, collection, filters):
                return super().count(collection, rewritten(filters, change))

        self._steps = Steps(right._data, kwargs.get("table_prefix", "praison_"))


# --------------------------------------------------------------------------------------------------------- collections


class CreatesWhateverIsAsked(Plain):
    """Says nothing when a collection exists with other arguments."""

    clause = "K01"

    def create_collection(self, name: str, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(CollectionExistsError):
            super().create_collection(name, *args, **kwargs)


class ForgetsCollectionMetadata(Plain):
    """Does not compare the metadata of a collection that is created again."""

    clause = "K01"

    class steps(MemoryKnowledgeSteps):
        @writes
        def create_collection(self, info, metadata):
            found = self._collections.get(info.name)
            if found is None or (found.info.dimension, found.info.distance) != (info.dimension, info.distance):
                return super().create_collection(info, metadata)
            return done(None)


class DeletedCollectionsKeepDocuments(Plain):
    """Forgets a deleted collection, but not its documents."""

    clause = "K01"

    class steps(MemoryKnowledgeSteps):
        def __init__(self, data, prefix):
            super().__init__(data, prefix)
            self.kept = {}

        @writes
        def delete_collection(self, name):
            self.kept[name] = self._collections.need(name).rows
            return super().delete_collection(name)

        @writes
        def create_collection(self, info, metadata):
            result = super().create_collection(info, metadata)
            if info.name in self.kept:
                self._collections[info.name].rows.update(self.kept.pop(info.name))
            return result


class TakesTooManyDimensions(Plain):
    """Creates a collection that the engine has no room for, and fails when a document is written."""

    clause = "K01"
    largest = 65_535

    def insert(self, collection: str, documents: Any) -> list[str]:
        if self.get_collection(collection).dimension > self.largest:
            raise BackendError("the engine failed: vector too long")
        return super().insert(collection, documents)


class RefusesTheDimensionTooLate(Plain):
    """Notes the collection before the engine refuses its dimension."""

    clause = "K01"
    largest = 65_535

    def create_collection(self, name: str, dimension: Any, *args: Any, **kwargs: Any) -> None:
        super().create_collection(name, dimension, *args, **kwargs)
        if dimension > self.largest:
            raise DimensionLimitError(f"the engine takes vectors of at most {self.largest:,} numbers")


class HyphensAreUnderscores(Plain):
    """Takes a-b for a_b."""

    clause = "K01"

    def create_collection(self, name: Any, *args: Any, **kwargs: Any) -> None:
        super().create_collection(name.replace("-", "_") if name in ("a-b", "a_b") else name, *args, **kwargs)


# ------------------------------------------------------------------------------------------------------------- writing


class InsertReplaces(Plain):
    """Replaces an existing document without a word."""

    clause = "K02"

    class steps(MemoryKnowledgeSteps):
        @writes
        def insert(self, collection, rows):
            return self.upsert(collection, rows)


class InsertSkips(Plain):
    """Leaves an existing document as it is, without a word."""

    clause = "K02"

    class steps(MemoryKnowledgeSteps):
        @writes
        def insert(self, collection, rows):
            known = self._collections.need(collection).rows
            return super().insert(collection, [row for row in rows if row.id not in known])


class WritesPartOfABatch(Plain):
    """Inserts document by document, until one exists."""

    clause = "K02"

    class steps(MemoryKnowledgeSteps):
        @writes
        def insert(self, collection, rows):
            yield from super().insert(collection, [])
            for row in rows:
                yield from super().insert(collection, [row])


class UpsertMerges(Plain):
    """Keeps the old metadata beside the new."""

    clause = "K02"

    class steps(MemoryKnowledgeSteps):
        @writes
        def upsert(self, collection, rows):
            known = self._collections.need(collection).rows
            merged = []
            for row in rows:
                old = known.get(row.id)
                if old is not None and old.metadata and row.metadata:
                    row = row._replace(metadata=dumps({**loads(old.metadata), **loads(row.metadata)}))
                merged.append(row)
            return super().upsert(collection, merged)


class FirstOfTwins(Plain):
    """Of an id that stands twice in an upsert the first one stays."""

    clause = "K02"

    def upsert(self, collection: str, documents: Any) -> list[str]:
        return super().upsert(collection, list(reversed(documents)))[::-1]


class ManyInserts(Plain):
    """Checks that an id is free, then writes."""

    clause = "K02"

    class steps(MemoryKnowledgeSteps):
        @writes
        def insert(self, collection, rows):
            target = self._collections.need(collection)
            for row in rows:
                check_dimension(len(row.embedding), target.info.dimension)
            if any(row.id in target.rows for row in rows):
                raise DocumentExistsError("an id exists")
            pause()
            target.rows.update({row.id: row for row in rows})
            return done(None)


class AsyncManyInserts(AsyncPlain):
    steps = ManyInserts.steps


class SetsScoreOnTheRecord(Plain):
    """Changes the document that it was given."""

    clause = "K02"

    def insert(self, collection: str, documents: Any) -> list[str]:
        result = super().insert(collection, documents)
        for item in documents:
            item.score = 0.0
        return result


# ------------------------------------------------------------------------------------------------------------ refusals


class AnyDimension(Plain):
    """Cuts or fills an embedding that does not fit."""

    clause = "K03"

    class steps(MemoryKnowledgeSteps):
        def _fit(self, collection, rows):
            size = self._collections.need(collection).info.dimension
            return [
                row._replace(embedding=(row.embedding + type(row.embedding)("f", [0.0] * size))[:size]) for row in rows
            ]

        @writes
        def insert(self, collection, rows):
            return super().insert(collection, self._fit(collection, rows))


class ChecksDimensionsOneByOne(Plain):
    """Writes the documents that come before one with a wrong dimension."""

    clause = "K03"

    class steps(MemoryKnowledgeSteps):
        @writes
        def upsert(self, collection, rows):
            yield from super().upsert(collection, [])
            for row in rows:
                yield from super().upsert(collection, [row])


class NotANumberIsZero(Plain):
    """Stores NaN as 0."""

    clause = "K03"

    def insert(self, collection: str, documents: Any) -> list[str]:
        def clean(vector: Any) -> Any:
            if not isinstance(vector, list):
                return vector
            return [0.0 if isinstance(number, float) and math.isnan(number) else number for number in vector]

        cleaned = [replace(item, embedding=clean(item.embedding)) for item in documents]
        return super().insert(collection, cleaned)


class UnknownCollectionsAreEmpty(Plain):
    """Counts 0 in a collection that is not there."""

    clause = "K03"

    def count(self, collection: str, filters: Any = None) -> int:
        try:
            return super().count(collection, filters)
        except CollectionNotFoundError:
            return 0


class CreatesUnknownCollections(Plain):
    """Creates the collection with the first insert."""

    clause = "K03"

    def insert(self, collection: str, documents: Any) -> list[str]:
        if documents and documents[0].embedding and not self.collection_exists(collection):
            self.create_collection(collection, len(documents[0].embedding))
        return super().insert(collection, documents)


# -------------------------------------------------------------------------------------------------------------- search


class Scoring(Plain):
    """Base of the mutants with other scores."""

    def rescore(self, distance: str, score: float) -> float:
        return score

    def search(self, collection: str, *args: Any, **kwargs: Any) -> list[Any]:
        found = super().search(collection, *args, **kwargs)
        distance = self.get_collection(collection).distance
        for item in found:
            item.score = self.rescore(distance, item.score)
        return found


class DotIsNegative(Scoring):
    """Returns the negative inner product, as some engines do."""

    clause = "K04"

    def rescore(self, distance: str, score: float) -> float:
        return -score if distance == "dot" else score


class EuclideanIsADistance(Scoring):
    """Returns the distance itself."""

    clause = "K04"

    def rescore(self, distance: str, score: float) -> float:
        return 1 / score - 1 if distance == "euclidean" else score


class CosineIsADistance(Scoring):
    """Returns 1 - cosine."""

    clause = "K04"

    def rescore(self, distance: str, score: float) -> float:
        return 1 - score if distance == "cosine" else score


class CosineIsPositive(Scoring):
    """Moves cosine similarity to 0 to 1."""

    clause = "K04"

    def rescore(self, distance: str, score: float) -> float:
        return (1 + score) / 2 if distance == "cosine" else score


class WorstFirst(Plain):
    """Returns the best documents in the wrong order."""

    clause = "K04"

    def search(self, *args: Any, **kwargs: Any) -> list[Any]:
        return super().search(*args, **kwargs)[::-1]


class ThresholdIsExclusive(Plain):
    """Leaves out a document with exactly the score of the threshold."""

    clause = "K04"

    class steps(MemoryKnowledgeSteps):
        @reads
        def search(self, collection, search):
            found = yield from super().search(collection, search)
            return [item for item in found if search.score_threshold is None or item.score > search.score_threshold]


class ThresholdAfterTheLimit(Plain):
    """Ignores a negative threshold, and one of 0."""

    clause = "K04"

    class steps(MemoryKnowledgeSteps):
        @reads
        def search(self, collection, search):
            return super().search(
                collection, search._replace(score_threshold=max(search.score_threshold or 0.0, 0.0) or None)
            )


class TiesAsTheyCome(Plain):
    """Returns equal scores in the order of writing."""

    clause = "K04"

    class steps(MemoryKnowledgeSteps):
        @reads
        def search(self, collection, search):
            rows = list(self._collections.need(collection).rows)
            found = yield from super().search(collection, search._replace(limit=10**6))
            return sorted(found, key=lambda item: (-item.score, rows.index(item.id)))[: search.limit]


class EmbeddingsAlways(Plain):
    """Returns embeddings that nobody asked for."""

    clause = "K04"

    def search(self, *args: Any, **kwargs: Any) -> list[Any]:
        return super().search(*args, **{**kwargs, "with_embeddings": True})


class EmbeddingsNever(Plain):
    """Does not return embeddings when asked."""

    clause = "K04"

    def search(self, *args: Any, **kwargs: Any) -> list[Any]:
        return super().search(*args, **{**kwargs, "with_embeddings": False})


class ForgetsTheTime(Plain):
    """Searches give created_at as whole seconds."""

    clause = "K04"

    def search(self, *args: Any, **kwargs: Any) -> list[Any]:
        found = super().search(*args, **kwargs)
        for item in found:
            item.created_at = float(int(item.created_at))
        return found


# ------------------------------------------------------------------------------------------------------------- filters


class MissingKeysAreNotUnequal(Plain):
    """``$ne`` and ``$nin`` do not match a missing key."""

    clause = "K05"

    class steps(MemoryKnowledgeSteps):
        @staticmethod
        def _tree(tree):
            if isinstance(tree, Not) and isinstance(tree.part, Compare) and tree.part.operator in ("$eq", "$in"):
                return And((tree, Compare("$exists", tree.part.key, True)))
            return tree

        @reads
        def search(self, collection, search):
            return super().search(collection, search._replace(filters=self._tree(search.filters)))

        @reads
        def count(self, collection, filters):
            return super().count(collection, self._tree(filters))


class TrueEqualsOne(Filtering):
    """Takes True for 1."""

    clause = "K05"

    @staticmethod
    def change(compare: Compare) -> Any:
        if compare.operator == "$eq" and (compare.value is True or (compare.value == 1 and type(compare.value) is int)):
            return Or((Compare("$eq", compare.key, True), Compare("$eq", compare.key, 1)))
        return compare


class NumbersAreTexts(Plain):
    """Compares numbers as text, so that 10 comes before 9."""

    clause = "K05"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        right = self._steps

        class Steps(type(right)):
            def _chosen(self, collection, tree):
                return [row.id for row in self._collections.need(collection).rows.values() if self._matches(tree, row)]

            @staticmethod
            def _matches(tree, row):
                metadata = {} if row.metadata is None else loads(row.metadata)
                stored = metadata.get(tree.key)
                if isinstance(stored, bool) or not isinstance(stored, (int, float)):
                    return language.matches(tree, metadata)
                return language.matches(replace(tree, value=str(tree.value)), {tree.key: str(stored)})

            def count(self, collection, filters):
                if isinstance(filters, Compare) and filters.operator in ("$lt", "$gt") and type(filters.value) is int:
                    return done(len(self._chosen(collection, filters)))
                return super().count(collection, filters)

        self._steps = Steps(right._data, kwargs.get("table_prefix", "praison_"))


class ContainsIsSubstring(Filtering):
    """``$contains`` finds text in text."""

    clause = "K05"

    @staticmethod
    def change(compare: Compare) -> Any:
        if compare.operator == "$contains" and isinstance(compare.value, str):
            return Or((compare, Compare("$startswith", compare.key, compare.value)))
        return compare


class StartsWithIsAPattern(Filtering):
    """``$startswith`` takes ``%`` and ``_`` for wildcards."""

    clause = "K05"

    @staticmethod
    def change(compare: Compare) -> Any:
        if compare.operator == "$startswith" and compare.value[-1:] in ("%", "_"):
            return replace(compare, value=compare.value[:-1])
        return compare


class DotsAreAPath(Filtering):
    """Takes the key a.b for b in a."""

    clause = "K05"

    @staticmethod
    def change(compare: Compare) -> Any:
        return replace(compare, key=compare.key.partition(".")[0]) if "." in compare.key else compare


class EmptyListsMatch(Filtering):
    """``$in`` of nothing matches everything."""

    clause = "K05"

    @staticmethod
    def change(compare: Compare) -> Any:
        return And(()) if compare.operator == "$in" and not compare.value else compare


class UnknownOperatorsAreIgnored(Plain):
    """Counts with the rest of a filter when an operator is unknown."""

    clause = "K05"

    def count(self, collection: str, filters: Any = None) -> int:
        try:
            return super().count(collection, filters)
        except ValueError:
            return super().count(collection)


class IgnoresStartsWith(Filtering):
    """Leaves out an operator that it does not have."""

    clause = "K06"

    @staticmethod
    def change(compare: Compare) -> Any:
        return None if compare.operator == "$startswith" else compare


class IgnoresFiltersOfCount(Plain):
    """Counts everything, whatever the filter."""

    clause = "K06"

    class steps(MemoryKnowledgeSteps):
        @reads
        def count(self, collection, filters):
            return super().count(collection, None)


class FiltersAfterTheLimit(Plain):
    """Takes the nearest, then filters."""

    clause = "K06"

    class steps(MemoryKnowledgeSteps):
        @reads
        def search(self, collection, search):
            found = yield from super().search(collection, search._replace(filters=None, limit=search.limit * 10))
            rows = self._collections.need(collection).rows
            return [item for item in found if selected(rows[item.id], search.filters)][: search.limit]


class OrIsAnd(Plain):
    """Evaluates ``$or`` as ``$and`` inside ``$not``."""

    clause = "K06"

    class steps(MemoryKnowledgeSteps):
        @reads
        def count(self, collection, filters):
            def change(tree, inside=False):
                if isinstance(tree, Not):
                    return Not(change(tree.part, True))
                if isinstance(tree, (And, Or)):
                    kind = And if inside else type(tree)
                    return kind(tuple(change(part, inside) for part in tree.parts))
                return tree

            return super().count(collection, change(filters))


# -------------------------------------------------------------------------------------------------- get, delete, recall


class GetInStorageOrder(Plain):
    """Returns documents in the order of writing."""

    clause = "K07"

    class steps(MemoryKnowledgeSteps):
        @reads
        def get(self, collection, ids):
            rows = self._collections.need(collection).rows
            return super().get(collection, [name for name in rows if name in set(ids)])


class UnknownIdsAreNone(Plain):
    """Returns None in place of an unknown document."""

    clause = "K07"

    def get(self, collection: str, ids: Any) -> list[Any]:
        found = {item.id: item for item in super().get(collection, ids)}
        return [found.get(name) for name in ids]


class NoFilterDeletesEverything(Plain):
    """Takes ``{}`` for all documents."""

    clause = "K08"

    def delete(self, collection: str, ids: Any = None, filters: Any = None) -> int:
        if ids is None and filters == {}:
            return self.clear_collection(collection)
        return super().delete(collection, ids, filters)


class NoIdsDeleteEverything(Plain):
    """Takes an empty list of ids for none given."""

    clause = "K08"

    class steps(MemoryKnowledgeSteps):
        @writes
        def delete(self, collection, ids, filters):
            return super().delete(collection, ids or None, filters)


class DeletesIdsOrMatches(Plain):
    """Deletes what is named, and what matches."""

    clause = "K08"

    def delete(self, collection: str, ids: Any = None, filters: Any = None) -> int:
        if ids is not None and filters:
            return super().delete(collection, ids) + super().delete(collection, None, filters)
        return super().delete(collection, ids, filters)


class ClearDropsTheCollection(Plain):
    """Removes the collection with its documents."""

    clause = "K08"

    def clear_collection(self, collection: str) -> int:
        count = super().clear_collection(collection)
        self.delete_collection(collection)
        return count


class Approximate(Plain):
    """Overlooks one document of fifty, as an index may."""

    clause = "K09"

    class steps(MemoryKnowledgeSteps):
        @reads
        def search(self, collection, search):
            rows = self._collections.need(collection).rows
            seen = random.Random(str(search.query))
            overlooked = {name for name in rows if len(rows) > 200 and seen.random() < 0.02}
            found = yield from super().search(collection, search._replace(limit=search.limit + len(overlooked)))
            return [item for item in found if item.id not in overlooked][: search.limit]


class IndexOfTheFirstBatch(Plain):
    """Ranks documents by the embedding that they were first inserted with."""

    clause = "K09"

    class steps(MemoryKnowledgeSteps):
        @writes
        def upsert(self, collection, rows):
            known = self._collections.need(collection).rows
            kept = [row._replace(embedding=known[row.id].embedding) if row.id in known else row for row in rows]
            return super().upsert(collection, kept)


class NumbersAreFloats(Plain):
    """Gives whole numbers in metadata back as floats."""

    clause = "K10"

    def get(self, *args: Any, **kwargs: Any) -> list[Any]:
        return [self._changed(item) for item in super().get(*args, **kwargs)]

    @staticmethod
    def _changed(item: Any) -> Any:
        if item.metadata:
            item.metadata = {k: float(v) if type(v) is int and abs(v) < 2**53 else v for k, v in item.metadata.items()}
        return item


class EmptyMetadataAreNone(Plain):
    """Gives {} back as None."""

    clause = "K10"

    def search(self, *args: Any, **kwargs: Any) -> list[Any]:
        found = super().search(*args, **kwargs)
        for item in found:
            item.metadata = item.metadata or None
        return found


class SeesWritesLater(Plain):
    """Searches what was there before the last write."""

    clause = "K11"

    class steps(MemoryKnowledgeSteps):
        last: tuple[str, ...] = ()

        @writes
        def insert(self, collection, rows):
            result = super().insert(collection, rows)
            self.last = tuple(row.id for row in rows)
            return result

        @reads
        def search(self, collection, search):
            found = yield from super().search(collection, search)
            hidden, self.last = self.last, ()
            return [item for item in found if item.id not in hidden]


# ----------------------------------------------------------------------------------------------------------- K12, model


class SeesOtherPrefixes(Plain):
    """Lists the collections of every prefix."""

    clause = "K12"

    class steps(MemoryKnowledgeSteps):
        @reads
        def list_collections(self):
            tables = [table for (kind, _), table in self._data.tables.items() if kind is Collections]
            return done(sorted(set(itertools.chain.from_iterable(tables))))


class SurrogatesAreDropped(Plain):
    """Loses lone surrogates of the content."""

    clause = "K12"

    def insert(self, collection: str, documents: Any) -> list[str]:
        def clean(item: Any) -> Any:
            text = item.content
            return replace(item, content=text.encode(errors="ignore").decode()) if isinstance(text, str) else item

        return super().insert(collection, [clean(item) for item in documents])


class IdsAreTrimmed(Plain):
    """Takes ids that differ in trailing space for one."""

    clause = "K12"

    class steps(MemoryKnowledgeSteps):
        @reads
        def get(self, collection, ids):
            known = {name.rstrip(" "): name for name in self._collections.need(collection).rows}
            return super().get(collection, [known.get(name.rstrip(" "), name) for name in ids])


class WorksAfterClose(Plain):
    """Counts when it is closed."""

    clause = "K12"

    def count(self, collection: str, filters: Any = None) -> int:
        if filters is None and isinstance(collection, str) and collection in self._steps._collections:
            return len(self._steps._collections[collection].rows)
        return super().count(collection, filters)


class DeclaresTooMuch(Plain):
    """Declares that processes can share it."""

    clause = "K12"
    capabilities = frozenset({"prefix", "atomic_batch", "shared"})


class KeepsCollectionsInMind(Plain):
    """Does not see that another store object deleted a collection."""

    clause = "K12"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known: dict[str, Any] = {}

    def get_collection(self, name: str) -> Any:
        if isinstance(name, str) and name in self.known and not self._runner._closed:
            return self.known[name]
        info = super().get_collection(name)
        self.known[name] = info
        return info

    def insert(self, collection: str, documents: Any) -> list[str]:
        if isinstance(collection, str) and self.collection_exists(collection):
            pass
        return super().insert(collection, documents)

    def delete_collection(self, name: str) -> None:
        super().delete_collection(name)
        self.known.pop(name, None)


class LosesUpserts(Plain):
    """Writes the whole collection back, so that racing writers lose documents."""

    clause = "K12"

    class steps(MemoryKnowledgeSteps):
        @writes
        def insert(self, collection, rows):
            target = self._collections.need(collection)
            for row in rows:
                check_dimension(len(row.embedding), target.info.dimension)
                if row.id in target.rows:
                    raise DocumentExistsError("an id exists")
            everything = dict(target.rows)
            pause()
            target.rows = {**everything, **{row.id: row for row in rows}}
            return done(None)


class AsyncLosesUpserts(AsyncPlain):
    steps = LosesUpserts.steps


class ForgetsTheHashOnUpsert(Plain):
    """Upsert loses the hash of a document that was there, if it had none before."""

    clause = "model"

    class steps(MemoryKnowledgeSteps):
        @writes
        def upsert(self, collection, rows):
            known = self._collections.need(collection).rows
            lost = [
                row._replace(content_hash=None) if row.id in known and known[row.id].content_hash is None else row
                for row in rows
            ]
            return super().upsert(collection, lost)


ALL: list[Mutant] = [
    Mutant(name, item.clause, name, f"Async{name}" if item.clause and f"Async{name}" in globals() else "")
    for name, item in list(globals().items())
    if isinstance(item, type) and issubclass(item, Plain) and (item.clause or item is Plain)
]
RIGHT = [
    ALL.pop(0),
    *(Mutant(f"Plain{clause}", clause, async_="AsyncPlain") for clause in ("K02", "K12")),
]
"""Stores without a mistake, that must pass: everything, and what the mutants have to fail on async stores."""
