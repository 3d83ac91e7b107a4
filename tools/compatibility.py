"""`docs/compatibility.md`: what a program that was written for PraisonAI finds here, name by name.

The tables of backends, modules and parameters are those that `praisonai_persistence.compat` works with. The other
public names stand in `PUBLIC`, and a test resolves each of them. `python tools/derived.py --write` writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

PUBLIC: dict[str, dict[str, str]] = {
    "praisonai.persistence": {
        "": (
            "ConversationStore ConversationSession ConversationMessage KnowledgeStore KnowledgeDocument StateStore "
            "PersistenceOrchestrator PersistenceConfig create_conversation_store create_knowledge_store "
            "create_state_store create_stores_from_config wrap_agent_with_persistence PersistentAgent "
            "create_persistent_session"
        )
    },
    "praisonai.persistence.conversation.base": {
        "": "validate_identifier",
        "ConversationMessage": "to_dict from_dict",
        "ConversationSession": "to_dict from_dict",
        "ConversationStore": (
            "create_session get_session update_session delete_session list_sessions add_message get_messages "
            "delete_messages upsert_session close __enter__ __exit__"
        ),
        "AsyncConversationStore": (
            "create_session get_session update_session delete_session list_sessions add_message get_messages "
            "delete_messages upsert_session close __aenter__ __aexit__"
        ),
    },
    "praisonai.persistence.knowledge.base": {
        "": "validate_identifier validate_dimension",
        "KnowledgeDocument": "to_dict from_dict",
        "KnowledgeStore": (
            "create_collection delete_collection collection_exists list_collections insert upsert search get delete "
            "count close __enter__ __exit__"
        ),
    },
    "praisonai.persistence.state.base": {
        "StateStore": (
            "get set delete exists keys scan_prefix ttl expire get_json set_json hget hset hgetall hdel close "
            "__enter__ __exit__"
        ),
    },
    "praisonai.persistence.config": {
        "": "ENV_VARS get_env_var list_available_backends",
        "PersistenceConfig": "from_env from_dict from_yaml to_dict validate",
    },
    "praisonai.persistence.registry": {
        "": "CONVERSATION_STORES KNOWLEDGE_STORES STATE_STORES get_default_registry",
        "StoreRegistry": (
            "register_store register create list_registered list_names list_all_names list_aliases resolve unregister "
            "is_available"
        ),
    },
    "praisonai.persistence.factory": {
        "": "create_conversation_store create_knowledge_store create_state_store create_stores_from_config",
    },
    "praisonai.persistence.orchestrator": {
        "PersistenceOrchestrator": (
            "from_config from_env on_agent_start on_message on_agent_end aon_agent_start aon_message aon_agent_end "
            "retrieve_knowledge add_knowledge aretrieve_knowledge aadd_knowledge get_state set_state delete_state "
            "get_session list_sessions delete_session get_messages build_context close aclose conversation knowledge "
            "state"
        ),
    },
    "praisonai.persistence.hooks": {
        "": "wrap_agent_with_persistence create_persistent_session",
        "PersistentAgent": "chat achat get_session get_messages end_session aend_session session_id",
    },
    "praisonai.persistence.migrations": {
        "": "SchemaVersion Migration",
        "MigrationManager": (
            "register_migration get_current_version set_current_version get_pending_migrations migrate_up migrate_down "
            "get_migration_status"
        ),
    },
    "praisonai.db.adapter": {
        "": "PostgresDB SQLiteDB RedisDB NeonDB CockroachDB XataDB TursoDB",
        "PraisonAIDB": (
            "on_agent_start on_user_message on_agent_message on_tool_call on_agent_end on_run_start on_run_end "
            "get_runs export_session import_session on_trace_start on_trace_end on_span_start on_span_end get_traces "
            "aon_agent_start aon_user_message aon_agent_message aon_tool_call aon_agent_end aon_run_start aon_run_end "
            "aclose close get_schema_version migrate_schema check_schema_compatibility on_assistant_message "
            "on_tool_message aexport_session aimport_session flush_pending_writes"
        ),
    },
    "praisonai_persistence.sessions": {
        "": "get_default_session_store get_hierarchical_session_store",
        "SessionStoreProtocol": "add_message get_chat_history clear_session delete_session session_exists",
        "SearchableSessionStoreProtocol": "search window recent",
        "RuntimeStateMirroringProtocol": "set_runtime_state get_runtime_state clear_runtime_state",
        "SessionMirrorProtocol": "append load list_sessions",
        "CheckpointQueryProtocol": "list_checkpoints get_checkpoint",
        "PortableSessionStoreProtocol": "export_session export_all import_sessions",
        "IncrementalSessionStoreProtocol": "upsert_partial_assistant_message discard_partial_assistant_message",
        "ImportReport": "skipped_count as_dict",
        "SessionHit": "as_dict",
        "SessionSummary": "as_dict",
        "SessionMessage": "to_dict from_dict to_llm_message",
        "CompactionCheckpoint": "to_dict from_dict as_message",
        "SessionData": "to_dict from_dict get_chat_history get_working_history trim_messages",
        "SessionSnapshot": "to_dict from_dict",
        "ExtendedSessionData": "to_dict from_dict from_session_data",
        "DefaultSessionStore": (
            "add_message flush_mirror close_mirror add_user_message add_assistant_message get_chat_history get_session "
            "get_session_model set_agent_info clear_session set_chat_history append_compaction_checkpoint "
            "get_working_history update_session_metadata rename_session delete_session list_sessions "
            "list_sessions_by_agent get_sessions_by_agent get_agent_chat_history set_gateway_info "
            "get_by_gateway_session list_sessions_by_gateway_agent search window recent session_exists "
            "invalidate_cache set_runtime_state get_runtime_state clear_runtime_state export_session export_all "
            "import_sessions upsert_partial_assistant_message discard_partial_assistant_message "
            "merge_session_metadata_map get_session_reasoning_effort"
        ),
        "HierarchicalSessionStore": (
            "create_session fork_session get_children get_parent get_session_tree create_snapshot get_snapshots "
            "revert_to_snapshot revert_to_message share_session unshare_session is_shared set_title auto_title "
            "get_extended_session export_session import_session"
        ),
        "SqliteSessionStore": "search get_by_gateway_session list_sessions_by_gateway_agent",
        "SqliteTranscriptStore": (
            "list_sessions list_sessions_by_agent get_by_gateway_session list_sessions_by_gateway_agent search"
        ),
    },
}
"""Module -> class, or nothing for names of the module itself -> names that are here."""

NOT_HERE = (
    (
        (
            "`praisonaiagents.db.protocol`: `DbAdapter`, `AsyncDbAdapter`, `DbMessage`, `DbToolCall`, `DbRun`, "
            "`DbSpan`, `DbTrace`"
        ),
        "of praisonaiagents; `db(...)` has every method of the first, `db.aio(...)` of the second",
    ),
    ("`praisonaiagents.session.encrypted_store`", "PraisonAI's own"),
    (
        (
            "`praisonaiagents.session.store`, `.hierarchy`, `.protocols`: `SessionData`, `SessionMessage`, "
            "`CompactionCheckpoint`, `ExtendedSessionData`, `SessionSnapshot`, `SessionHit`, `SessionSummary`, "
            "`ImportReport`"
        ),
        "here, for whoever imports them; PraisonAI's own code in these modules goes on with its own",
    ),
    (
        "`DefaultSessionStore(cache_maxsize=)`",
        "accepted, and without effect: nothing is kept in memory that files do not say",
    ),
)
"""Public names of PraisonAI that have no counterpart -> what there is."""

DIFFERENT = (
    ("`get_messages(limit=n)` gives the oldest n", "the latest n; with `offset`, pages from the oldest", "C13"),
    ("messages are ordered by `created_at`", "by `seq`, in which they were appended", "C09"),
    ("an update of an unknown session does nothing", "`SessionNotFoundError`", "C04"),
    ("`create_session` of a taken id", "`SessionExistsError`", "C02"),
    ("a hash key answers plain calls, and the reverse", "`WrongTypeError`", "S07"),
    (
        "`set_json` stores text, and `get_json` parses it",
        (
            "the value itself; a text that was stored, also by PraisonAI, comes back as that text: `json.loads` it. A "
            "program's own store gets text, as there"
        ),
        "S10",
    ),
    (
        "`search` of a session store finds sessions with any of the words, by rank",
        "those with every word, those with the most of such messages first; how fast messages came does not count",
        "C27",
    ),
    ("`unregister` of a built-in backend", "False: plugins are installed, not registered", "L11"),
    ("`get_chat_history(max_messages=0)` gives all messages", "none", "C13"),
    (
        (
            "session stores on files keep all messages at hand with `max_messages=0`, with an `active_window` of 0 or "
            "less, and with such a `PRAISONAI_SESSION_ACTIVE_WINDOW`"
        ),
        (
            "with 0 as `active_window` or in the variable. `max_messages=0` is a `ConfigurationError`, a negative "
            "number an `InvalidValueError`; in the variable it is ignored, with a warning"
        ),
        "L11",
    ),
    (
        '`retention="compact"` puts a message in front that sums up the archived ones',
        "they are archived, and no message is made up; a summary that PraisonAI wrote stays in front",
        "C27",
    ),
    (
        "an orchestrator without a state store does nothing in `set_state`",
        (
            "`UnsupportedOperationError`: what would be lost is told; also from `add_knowledge` without a knowledge "
            "store, which is a `ValueError` there. The other calls for a kind without a store return None, False or "
            "nothing found, as there"
        ),
        "L11",
    ),
    ("`ttl` is a whole number", "a float; a `ttl` of 0 is refused", "S03, S04"),
    ("`Agent(memory=True)` keeps files below the working folder", "SQLite: `db()`", "C01"),
    ("`scan_prefix` returns a list", "an iterator, which reads as it goes", "S05"),
    ("`insert` of a taken id", "`DocumentExistsError`", "K02"),
    ("calls on an unknown collection return nothing", "`CollectionNotFoundError`", "K03"),
    ("a filter that an engine cannot do is ignored", "`FilterError`", "K06"),
    ("errors are logged, and calls return None or False", "errors are raised", "L11"),
    (
        "stores of MySQL's async class have sync methods too",
        "they are awaited; `as_sync(store)` has sync methods",
        "L07",
    ),
    ("corrupt session files are put aside", "`CorruptDocumentError`, and the file stays as it is", "L11"),
)
"""What PraisonAI does -> what is done here, deliberately -> the clause of the contract."""


SAID = (
    (
        "all names of backends in the tables above can be created",
        (
            "those that are PraisonAI's own with the distribution praisonai only; without it "
            "`BackendNotInstalledError`, a `ValueError`, says so"
        ),
        "nobody has written them for this project yet",
    ),
    (
        "tables of old releases lack columns, which have to be added by hand",
        "they are taken over as they are, with either prefix",
        "[adoption.md](adoption.md)",
    ),
    (
        "an async store of one's own, with four methods and a comment for the others",
        "`TypeError` until the others are there, as with PraisonAI",
        "a store needs what its base class asks for",
    ),
    (
        "a sync store with an async method is run on a thread",
        "its coroutine is what the caller gets; Python warns of it. Derive from `AsyncConversationStore`",
        "the page advises against it, too",
    ),
    (
        "async stores have no methods with `async_` in front",
        "those of MySQL and MongoDB have them, as PraisonAI's classes do",
        "programs call them",
    ),
    (
        "a session without messages is forked at its sixth message",
        "`InvalidValueError`, a `ValueError`, as with PraisonAI",
        "the page leaves out what is said before",
    ),
    (
        "the session store on files needs nothing else",
        "it is in praisonai-persistence-json",
        "packages are installed one by one",
    ),
)
"""What PraisonAI's pages about persistence say and does not hold here as it is said -> what holds -> why."""


def page(root: Path) -> str:
    """The text of the page."""
    source = str(root / "core" / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from praisonai_persistence import _praisonai as facts
    from praisonai_persistence import _praisonai_names as names
    from praisonai_persistence._known import KNOWN

    yield "# What a program for PraisonAI finds here"
    yield ""
    yield "Written by `tools/derived.py`, from the tables that `praisonai_persistence.compat` works with. After"
    yield "`import praisonai_persistence.compat`, the names in the first column are those of this project where the"
    yield "last column says so. What stays PraisonAI's own needs the distribution praisonai; without it, importing such"
    yield "a name raises `ModuleNotFoundError`, which says so."
    yield ""
    yield "## Modules"
    yield ""
    yield "| module | here |"
    yield "|---|---|"
    for module, own in sorted(names.REPLACED.items()):
        yield f"| `{module}` | `{own}` |"
    for module, own in sorted(names.FALLBACKS.items()):
        yield f"| `{module}` | PraisonAI's own; without it `{own}` |"
    for module, what in sorted(names.OWN_MODULES.items()):
        yield f"| `{module}` | PraisonAI's own: {what} |"
    for kind, rows in facts.BACKENDS.items():
        yield ""
        yield f"## Backends: {kind}"
        yield ""
        yield "| name | aliases | module and class | here |"
        yield "|---|---|---|---|"
        for row in rows:
            aliases = ", ".join(f"`{alias}`" for alias in row.aliases.split()) or "none"
            here = _place(kind, facts, row, KNOWN)
            yield f"| `{row.name}` | {aliases} | `{kind}.{row.module}.{row.store}` | {here} |"
    yield ""
    yield "## Parameters of constructors"
    yield ""
    yield "A store takes every parameter of PraisonAI's constructor, by position and by name, and every option of its"
    yield "own by name. A parameter has the meaning of the option of the same name, except:"
    yield ""
    yield "| parameter | here |"
    yield "|---|---|"
    for name, option in sorted(facts.MEANINGS.items()):
        more = (
            "; where a store has no such option, it makes nothing where nothing is" if name.startswith("auto_") else ""
        )
        yield f"| `{name}` | `{option}`{more} |"
    for name, why in sorted(facts.NO_MEANING.items()):
        yield f"| `{name}` | nothing, unless the store has such an option: {why}; a warning says so once |"
    yield ""
    yield "Where an argument is not given, these are taken from the environment, as PraisonAI does:"
    yield ""
    yield "| class | parameter | variable | without it |"
    yield "|---|---|---|---|"
    for store, variables in sorted(facts.ENVIRONMENT.items()):
        for name, (variable, default) in variables.items():
            yield f"| `{store}` | `{name}` | `{variable}` | {f'`{default}`' if default else 'nothing'} |"
    yield ""
    yield "The public attributes of PraisonAI's stores, such as `path`, `table_prefix` and `prefix`, are those"
    yield "arguments, or their defaults. They can be read and not be set."
    yield ""
    yield "## Other public names"
    yield ""
    yield "| name | here |"
    yield "|---|---|"
    for module, classes in PUBLIC.items():
        for name, members in classes.items():
            shown = ", ".join(f"`{member}`" for member in members.split())
            yield f"| `{module}{'.' if name else ''}{name}`: {shown} | here |"
    for name, instead in NOT_HERE:
        yield f"| {name} | {instead} |"
    yield ""
    yield "## Deliberately different"
    yield ""
    yield "| PraisonAI | here | clause |"
    yield "|---|---|---|"
    for there, here, clause in DIFFERENT:
        yield f"| {there} | {here} | {clause} |"
    yield ""
    yield "## What its pages say"
    yield ""
    yield "`./dev agents` runs every program on PraisonAI's pages about persistence as it stands there, with its newest"
    yield "agents and with those of 0.8, if `PERSISTENCE_PRAISONAI_PAGES` names a folder with these pages;"
    yield "`tests/agents/snippets.py` says of each what it does. What the pages say holds, but for this:"
    yield ""
    yield "| there | here | why |"
    yield "|---|---|---|"
    for there, here, why in SAID:
        yield f"| {there} | {here} | {why} |"


def _place(kind: str, facts: object, row: object, known: dict[str, dict[str, tuple[str, str]]]) -> str:
    own = facts.backend_of(kind, row)  # type: ignore[attr-defined]
    if own is None:
        return "PraisonAI's own"
    distribution = known[kind][own][0] if own in known[kind] else "praisonai-persistence"
    return f"`{own}` of {distribution}"
