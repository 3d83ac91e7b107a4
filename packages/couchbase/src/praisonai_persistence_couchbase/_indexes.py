"""The search index of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores.projection import product_distance

if TYPE_CHECKING:
    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence_couchbase._driver import CouchbaseOptions

__all__ = ["definition"]


def definition(options: CouchbaseOptions, name: str, place: str, info: CollectionInfo) -> Any:
    """Return the definition of an index of vectors, tokens and numbers, as the SDK takes it.

    Args:
        options: of the store.
        name: of the index.
        place: what the documents of the collection have as their ``place``.
        info: of the collection.
    """
    from couchbase.management.search import SearchIndex

    vector = {
        "name": options.vector_field,
        "type": "vector_base64",
        "dims": info.dimension,
        "similarity": "l2_norm" if product_distance(info.distance) == "euclidean" else "dot_product",
        "vector_index_optimized_for": "recall",
        "index": True,
    }
    tokens = {"name": "tokens", "type": "text", "analyzer": "keyword", "index": True}
    mapping = {
        "enabled": True,
        "dynamic": False,
        "properties": {
            options.vector_field: {"enabled": True, "dynamic": False, "fields": [vector]},
            "tokens": {"enabled": True, "dynamic": False, "fields": [tokens]},
            "numbers": {"enabled": True, "dynamic": True},
        },
    }
    return SearchIndex(
        name=name,
        idx_type="fulltext-index",
        source_name=options.bucket_name,
        source_type="gocbcore",
        plan_params={"indexPartitions": 1},
        params={
            "doc_config": {"mode": "scope.collection.type_field", "type_field": "place"},
            "mapping": {
                "default_analyzer": "keyword",
                "default_mapping": {"enabled": False, "dynamic": False},
                "index_dynamic": True,
                "store_dynamic": False,
                "docvalues_dynamic": False,
                "types": {f"{options.scope_name}.{options.collection_name}.{place}": mapping},
            },
            "store": {"indexType": "scorch", "segmentVersion": 16},
        },
    )
