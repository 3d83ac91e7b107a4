"""PraisonAI's store interfaces as facts: what its abstract classes ask for, with the arguments that it calls."""

from __future__ import annotations

ABSTRACT = {
    "conversation": {
        "create_session": "session",
        "get_session": "session_id",
        "update_session": "session",
        "delete_session": "session_id",
        "list_sessions": "user_id=None, agent_id=None, limit=100, offset=0",
        "add_message": "session_id, message",
        "get_messages": "session_id, limit=None, before=None, after=None",
        "delete_messages": "session_id, message_ids=None",
        "close": "",
    },
    "knowledge": {
        "create_collection": "name, dimension, distance='cosine', metadata=None",
        "delete_collection": "name",
        "collection_exists": "name",
        "list_collections": "",
        "insert": "collection, documents",
        "upsert": "collection, documents",
        "search": "collection, query_embedding, limit=5, filters=None, score_threshold=None",
        "get": "collection, ids",
        "delete": "collection, ids=None, filters=None",
        "count": "collection",
        "close": "",
    },
    "state": {
        "get": "key",
        "set": "key, value, ttl=None",
        "delete": "key",
        "exists": "key",
        "keys": "pattern='*'",
        "ttl": "key",
        "expire": "key, ttl",
        "hget": "key, field",
        "hset": "key, field, value",
        "hgetall": "key",
        "hdel": "key, *fields",
        "close": "",
    },
}
"""Kind -> abstract method -> its arguments behind ``self``. The async class of conversations has the same, awaited."""


def passed(arguments: str) -> str:
    """Return what hands arguments on: ``a, b=None, *c`` is handed on as ``a, b, *c``."""
    return ", ".join(argument.partition("=")[0] for argument in arguments.split(", "))


def custom_class(interface: type, kind: str, inner: type, *, asynchronous: bool = False) -> type:
    """Return a class with exactly the abstract methods, and exactly their arguments, over a store of this project.

    Its ``inner`` is the store that does the work, made anew for each object.
    """
    a, wait = ("async ", "await ") if asynchronous else ("", "")
    lines = [f"class Custom{interface.__name__}(interface):", "    def __init__(self):", "        self.inner = inner()"]
    for name, arguments in ABSTRACT[kind].items():
        lines.append(f"    {a}def {name}(self{', ' + arguments if arguments else ''}):")
        lines.append(f"        return {wait}self.inner.{name}({passed(arguments)})")
    names = {"interface": interface, "inner": inner}
    exec("\n".join(lines), names)  # of the facts above only
    return names[f"Custom{interface.__name__}"]
