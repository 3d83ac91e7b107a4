"""``knowledge``: looking at collections, and at their documents."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence.errors import DimensionError, UnsupportedOperationError
from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._options import (
    Command,
    Group,
    as_json,
    needed,
    prefix_option,
    stdin_is_taken,
    url_options,
)
from praisonai_persistence_cli._output import documents, line, plain, table, timestamp, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from praisonai_persistence.knowledge import KnowledgeStore
    from praisonai_persistence.records import KnowledgeDocument

__all__ = ["knowledge_command"]

_EXCERPT = 160


@click.group("knowledge", cls=Group)
def knowledge_command() -> None:
    """Look at a knowledge store: its collections, and their documents.

    To write all of them to a file: export --kind knowledge; to copy them: copy --kind knowledge.
    """


def _knowledge_options(function: Callable[..., Any]) -> Callable[..., Any]:
    return url_options("knowledge")(prefix_option(function))


_embeddings_option = click.option("--embeddings", is_flag=True, help="With --json: also the embeddings.")


def _store(url: str | None, prefix: str | None) -> KnowledgeStore:
    store: KnowledgeStore = needed("knowledge", url, prefix).open(must_exist=True)
    return store


@knowledge_command.command("collections", cls=Command)
@_knowledge_options
def _collections_command(knowledge_url: str | None, table_prefix: str | None) -> None:
    """List the collections, with the number of their documents."""
    with _store(knowledge_url, table_prefix) as store:
        rows = _collections(store)
        if as_json():
            documents({}, "collections", rows)
        else:
            table(
                ("COLLECTION", "DIMENSION", "DISTANCE", "DOCUMENTS"),
                ((row["name"], row["dimension"], row["distance"], row["documents"]) for row in rows),
            )


def _collections(store: KnowledgeStore) -> Iterator[dict[str, Any]]:
    for name in store.list_collections():
        row: dict[str, Any] = {"name": name, "dimension": None, "distance": None, "metadata": None}
        try:
            info = store.get_collection(name)
        except UnsupportedOperationError:  # a store that was written for PraisonAI's interface
            pass
        else:
            row.update(dimension=info.dimension, distance=info.distance, metadata=info.metadata)
        yield {**row, "documents": store.count(name)}


@knowledge_command.command("get", cls=Command)
@click.argument("collection")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_embeddings_option
@_knowledge_options
def _get_command(
    collection: str, ids: tuple[str, ...], embeddings: bool, knowledge_url: str | None, table_prefix: str | None
) -> None:
    """Show documents of a collection. The exit code is 1 if one of them is not there."""
    wanted = dict.fromkeys(ids)
    with _store(knowledge_url, table_prefix) as store:
        found = store.get(collection, list(wanted))
    if as_json():
        documents({"collection": collection}, "documents", (_fields(item, embeddings) for item in found))
    else:
        for number, item in enumerate(found):
            if number:
                line()
            _print(item)
    missing = [item for item in wanted if item not in {document.id for document in found}]
    for one in missing:
        complain(f"Error: collection {collection!r} has no document {one!r}")
    if missing:
        raise Failed


def _fields(item: KnowledgeDocument, embeddings: bool) -> dict[str, Any]:
    fields = item.to_dict()
    if not embeddings:
        del fields["embedding"]
    return fields


def _print(item: KnowledgeDocument) -> None:
    line(f"document {plain(item.id)}")
    line(f"created {timestamp(item.created_at)}")
    if item.content_hash is not None:
        line(f"content_hash {plain(item.content_hash)}")
    if item.metadata:
        line(f"metadata {to_json(item.metadata)}")
    line(plain(item.content, multiline=True))


@knowledge_command.command("search", cls=Command)
@click.argument("collection")
@click.option("--like", metavar="ID", help="Near this document of the collection, which is left out.")
@click.option("--embedding", metavar="JSON", help="Near these numbers: '[0.1, 0.2]'; - reads them from stdin.")
@click.option(
    "--filter", "filter_text", metavar="JSON", help='Only documents whose metadata match: \'{"lang": "en"}\'.'
)
@click.option("--score-threshold", type=float, metavar="X", help="Only documents with at least this score.")
@click.option("--limit", type=click.IntRange(0), default=5, show_default=True, help="How many at the most.")
@_embeddings_option
@_knowledge_options
def _search_command(
    collection: str,
    like: str | None,
    embedding: str | None,
    filter_text: str | None,
    score_threshold: float | None,
    limit: int,
    embeddings: bool,
    knowledge_url: str | None,
    table_prefix: str | None,
) -> None:
    """Find the documents of a collection that are nearest, best first.

    A store takes embeddings, not texts: give those that your model made of the question, or the id of a document.
    Filters are those of KnowledgeStore.search.
    """
    if (like is None) == (embedding is None):
        raise click.UsageError("give either --like, with the id of a document, or --embedding, with numbers")
    filters = None if filter_text is None else _parsed(filter_text, "--filter", dict, 'an object: \'{"lang": "en"}\'')
    query = None if embedding is None else _numbers(embedding)
    with _store(knowledge_url, table_prefix) as store:
        if query is None:
            stored = store.get(collection, [str(like)])
            if not stored:
                complain(f"Error: collection {collection!r} has no document {like!r}")
                raise Failed
            query = stored[0].embedding or []
        more = limit + 1 if like is not None and limit else limit
        try:
            found = store.search(collection, query, more, filters, score_threshold, with_embeddings=embeddings)
        except DimensionError as error:
            raise click.UsageError(f"--embedding: {error}") from error
    found = [item for item in found if item.id != like][:limit]
    if as_json():
        documents({"collection": collection}, "documents", (_fields(item, embeddings) for item in found))
        return
    table(
        ("DOCUMENT", "SCORE", "METADATA", "CONTENT"),
        (
            (item.id, f"{item.score:.4f}", to_json(item.metadata) if item.metadata else "", _excerpt(item.content))
            for item in found
        ),
    )


def _excerpt(content: str) -> str:
    words = " ".join(content[: 8 * _EXCERPT].split())
    return words if len(words) <= _EXCERPT else words[: _EXCERPT - 1] + "\u2026"


def _numbers(text: str) -> list[float]:
    if text == "-":
        if stdin_is_taken():
            raise click.UsageError("--embedding and an option for a URL both read standard input: give one a file")
        text = sys.stdin.read() if sys.stdin else ""
    numbers: list[Any] = _parsed(text, "--embedding", list, "a list of numbers: '[0.1, 0.2]'")
    if not numbers or not all(type(number) in {int, float} for number in numbers):
        raise click.UsageError("--embedding must be a list of numbers: '[0.1, 0.2]'")
    return numbers


def _parsed(text: str, option: str, wanted: type, form: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{option} must be JSON, {form}") from error
    if not isinstance(value, wanted):
        raise click.UsageError(f"{option} must be {form}")
    return value
