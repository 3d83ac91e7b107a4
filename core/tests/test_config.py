"""Configuration from code and from the environment, and the stores made of it."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

import pytest

from praisonai_persistence import (
    AsyncConversationStore,
    AsyncKnowledgeStore,
    AsyncStateStore,
    BackendNotInstalledError,
    ConfigurationError,
    ConversationStore,
    KnowledgeStore,
    PersistenceConfig,
    PersistenceOrchestrator,
    StateStore,
    StoreNotFoundError,
    Stores,
    UnknownBackendError,
    UnknownOptionError,
    create_stores_from_config,
    db,
)

VARIABLES = {
    "PRAISON_CONVERSATION_URL": "conversation_url",
    "PRAISON_KNOWLEDGE_URL": "knowledge_url",
    "PRAISON_STATE_URL": "state_url",
}
FALLBACKS = {
    "conversation_url": "POSTGRES_URL",
    "knowledge_url": "QDRANT_URL",
    "state_url": "REDIS_URL",
}


def test_nothing_is_configured_by_default() -> None:
    config = PersistenceConfig()
    assert (config.conversation_url, config.knowledge_url, config.state_url) == (None, None, None)
    assert (config.conversation_options, config.knowledge_options, config.state_options) == ({}, {}, {})
    assert PersistenceConfig.from_env({}) == config
    assert create_stores_from_config(config) == Stores(None, None, None)


def test_each_variable_is_its_own_kind() -> None:
    for variable, attribute in VARIABLES.items():
        config = PersistenceConfig.from_env({variable: "memory://x", "OTHER": "memory://y"})
        assert config == PersistenceConfig(**{attribute: "memory://x"})


def test_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRAISON_CONVERSATION_URL", raising=False)
    monkeypatch.setenv("PRAISON_KNOWLEDGE_URL", "  ")
    monkeypatch.setenv("PRAISON_STATE_URL", " agent.db\n")
    assert PersistenceConfig.from_env() == PersistenceConfig(state_url="agent.db")
    assert PersistenceConfig.from_env({}) == PersistenceConfig()


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("agent", "'agent' is not a store URL: write scheme://"),
        ("db://me:geheim@host:port/x", "'db://me:***@host:port/x' is not a store URL: its port is no number"),
        ("me:geheim@host/x", "'me:***@host/x' is not a store URL: write scheme://"),
        ("host=h password=geheim", "'host=h password=***' is not a store URL"),
    ],
)
def test_a_variable_that_holds_no_url_is_named_and_masked(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PersistenceConfig.from_env({variable: value})
    assert str(caught.value).startswith(f"{variable}: {message}")
    assert "geheim" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_a_configuration_shows_no_secret() -> None:
    config = PersistenceConfig(
        "db://me:geheim@host/x", state_url="db://host/?token=geheim", state_options={"password": "geheim"}
    )
    assert (
        repr(config)
        == str(config)
        == (
            "PersistenceConfig(conversation_url='db://me:***@host/x', knowledge_url=None, state_url='db://host/?token=***')"
        )
    )


def test_a_configuration_cannot_be_changed() -> None:
    config = PersistenceConfig()
    with pytest.raises(AttributeError):
        config.state_url = "memory://"
    assert config.conversation_options is not PersistenceConfig().conversation_options


# --------------------------------------------------------------------------------------------------------------- stores


def test_stores_of_a_configuration() -> None:
    config = PersistenceConfig(
        conversation_url="memory://test-config",
        state_url="memory://test-config",
        conversation_options={"table_prefix": "c_"},
        state_options={"table_prefix": "s_"},
        knowledge_options={"ignored": "without a URL"},
    )
    stores = create_stores_from_config(config)
    assert isinstance(stores.conversation, ConversationStore)
    assert stores.knowledge is None
    assert isinstance(stores.state, StateStore)
    conversation, knowledge, state = stores
    assert (conversation, knowledge, state) == (stores.conversation, None, stores.state)
    assert (stores["conversation"], stores["knowledge"], stores[2]) == (conversation, None, state)
    assert dict(stores) == {"conversation": conversation, "knowledge": None, "state": state}
    assert (stores.get("state"), stores.get("knowledge", 1), stores.get("other")) == (state, 1, None)
    state.set("key", 1)
    same, other = (
        create_stores_from_config(PersistenceConfig(state_url="memory://test-config", state_options=options)).state
        for options in ({"table_prefix": "s_"}, {"table_prefix": "t_"})
    )
    assert same.get("key") == 1
    assert not other.exists("key")


def test_stores_of_one_mode() -> None:
    urls = ["memory://test-config-modes"] * 3
    stores = create_stores_from_config(PersistenceConfig(*urls), "async")
    assert isinstance(stores.conversation, AsyncConversationStore)
    assert isinstance(stores.knowledge, AsyncKnowledgeStore)
    assert isinstance(stores.state, AsyncStateStore)
    sync = create_stores_from_config(PersistenceConfig(*urls), mode="sync")
    assert isinstance(sync.knowledge, KnowledgeStore)
    asyncio.run(stores.state.set("key", 1))
    assert sync.state.get("key") == 1


@pytest.mark.parametrize("attribute", VARIABLES.values())
def test_what_cannot_be_opened(attribute: str) -> None:
    with pytest.raises(UnknownBackendError, match=f"there is no {attribute[:-4]} backend 'nothing'") as caught:
        create_stores_from_config(PersistenceConfig(**{attribute: "nothing://me:geheim@host"}))
    assert not isinstance(caught.value, BackendNotInstalledError)
    assert "geheim" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="got an unexpected keyword argument 'size'; it takes: url, name"):
        create_stores_from_config(
            PersistenceConfig(**{attribute: "memory://", attribute.replace("url", "options"): {"size": 1}})
        )
    with pytest.raises(ConfigurationError, match="is not a store URL"):
        create_stores_from_config(PersistenceConfig(**{attribute: "nothing"}))


def test_a_vendors_variable_is_not_for_a_store_of_another_backend():
    """It is there for another program, perhaps; this one names its store."""
    found = PersistenceConfig.from_env
    redis, postgres = {"REDIS_URL": "redis://h"}, {"POSTGRES_URL": "postgresql://h/d"}
    assert found({"PRAISONAI_STATE_STORE": "memory", **redis}).state_url is None
    assert found({"PRAISONAI_CONVERSATION_STORE": "memory", **postgres}).conversation_url is None
    assert found(redis).state_url == "redis://h"
    for name in ("redis", "async_redis"):
        assert found({"PRAISONAI_STATE_STORE": name, **redis}).state_url == "redis://h"
    own = {"PRAISONAI_STATE_STORE": "memory", "PRAISONAI_STATE_URL": "redis://h"}  # that is a contradiction
    assert found(own).state_url == "redis://h"
    stores = create_stores_from_config(found({"PRAISONAI_STATE_STORE": "memory", **redis}))
    assert isinstance(stores.state, StateStore)


def test_variables_that_praisonai_reads_count_behind_our_own() -> None:
    for attribute, vendor in FALLBACKS.items():
        names = [f"PRAISON_{attribute.upper()}", f"PRAISONAI_{attribute.upper()}", vendor]
        for place, name in enumerate(names):
            environ = {other: f"memory://{other.lower()}" for other in names[place:]}
            assert getattr(PersistenceConfig.from_env(environ), attribute) == f"memory://{name.lower()}"
    found = PersistenceConfig.from_env(
        {"QDRANT_URL": "https://h:1/", "PRAISONAI_USER_ID": "u", "PRAISON_SESSION_ID": "s"}
    )
    assert (found.knowledge_url, found.knowledge_options) == ("qdrant://h:1", {"https": True})
    assert (found.user_id, found.session_id) == ("u", "s")
    with pytest.raises(ConfigurationError, match="^REDIS_URL: "):
        PersistenceConfig.from_env({"REDIS_URL": "nothing"})


def test_dicts_and_files(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="needs PyYAML, which is not installed")
    config = PersistenceConfig(
        state_store="memory", state_options={"name": "test-config-dict"}, session_id="s", lazy_init=False
    )
    data = config.to_dict()
    assert PersistenceConfig.from_dict({**data, "of a later release": 1}) == config
    data["state_options"]["name"] = "other"
    assert config.state_options == {"name": "test-config-dict"}
    file = tmp_path / "config.yaml"
    for text in (
        "state_store: memory\nstate_options: {name: test-config-dict}\nsession_id: s\nlazy_init: false\n",
        (
            "persistence:\n  state_store: memory\n  state_options: {name: test-config-dict}\n  session_id: s\n"
            "  lazy_init: false\nother: 1\n"
        ),
    ):
        file.write_text(text, encoding="utf-8")
        assert PersistenceConfig.from_yaml(file) == config
    file.write_text("", encoding="utf-8")
    assert PersistenceConfig.from_yaml(str(file)) == PersistenceConfig()
    for text in ("- 1", "a: [", "persistence: 1"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match="config.yaml"):
            PersistenceConfig.from_yaml(file)
    for expected in (ConfigurationError, FileNotFoundError):
        with pytest.raises(expected, match="there is no file .*none"):
            PersistenceConfig.from_yaml(tmp_path / "none")


@pytest.mark.needs_packages("sqlite")
def test_stores_that_are_named(tmp_path: Path) -> None:
    named = PersistenceConfig(
        state_store="memory",
        state_options={"name": "test-config-named"},
        knowledge_store="memory",
        knowledge_url="memory://",
    )
    stores = create_stores_from_config(named)
    assert (stores.conversation, type(stores.knowledge).__name__) == (None, "MemoryKnowledgeStore")
    stores.state.set("k", 1)
    with PersistenceOrchestrator(config=named) as orchestrator:
        assert orchestrator.get_state("k") == 1
    absent = PersistenceConfig(f"sqlite:///{tmp_path}/none.db", auto_create_tables=False)
    with pytest.raises(StoreNotFoundError), create_stores_from_config(absent).conversation as store:
        store.list_sessions()
    with pytest.raises(StoreNotFoundError):
        create_stores_from_config(
            PersistenceConfig(f"sqlite:///{tmp_path}/none.db", auto_create_tables=False, lazy_init=False)
        )
    assert list(tmp_path.iterdir()) == []


def test_whose_session_an_orchestrator_starts() -> None:
    config = PersistenceConfig("memory://", session_id="s", user_id="u")
    with PersistenceOrchestrator(config=config) as orchestrator:
        orchestrator.on_agent_start(None)
        assert orchestrator.current_session_id == "s"
        assert orchestrator.get_session("s").user_id == "u"
        orchestrator.on_agent_start(None, "t", "v")
        assert orchestrator.get_session("t").user_id == "v"


@pytest.mark.needs_packages("sqlite")
def test_what_is_wrong_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert PersistenceConfig().validate()
    assert PersistenceConfig("sqlite:///x.db", state_store="memory", knowledge_store="memory").validate()
    wrong = PersistenceConfig("me:geheim@host", knowledge_store="chrma", state_url="nothing://me:geheim@h")
    assert not wrong.validate()
    assert len(wrong.problems()) == len(caplog.records) == 3
    assert "geheim" not in caplog.text
    assert "Did you mean 'chroma'" in caplog.text


def test_a_mode_may_stand_among_the_options() -> None:
    for mode, kind in (("sync", ConversationStore), ("async", AsyncConversationStore), ("auto", ConversationStore)):
        config = PersistenceConfig(conversation_store="memory", conversation_options={"mode": mode})
        assert isinstance(create_stores_from_config(config).conversation, kind)
        assert isinstance(create_stores_from_config(config)["conversation"], kind)
        with PersistenceOrchestrator(config=config) as orchestrator:
            orchestrator.on_message("s", "user", "x")
            assert [message.content for message in orchestrator.get_messages("s")] == ["x"]
        assert config.conversation_options == {"mode": mode}
        with db("memory://", conversation_options={"mode": mode}) as one:
            one.on_user_message("s", "x")
    asynchronous = PersistenceConfig(conversation_store="memory", conversation_options={"mode": "async"})
    with pytest.raises(ConfigurationError, match="mode='async', and the call for mode='sync'"):
        create_stores_from_config(asynchronous, mode="sync")
    for make in (create_stores_from_config, lambda config: PersistenceOrchestrator(config=config)):
        with pytest.raises(ConfigurationError, match="mode must be"):
            make(PersistenceConfig(conversation_url="memory://", conversation_options={"mode": "fast"}))


def test_misspelt_settings_are_found_at_once(caplog: pytest.LogCaptureFixture) -> None:
    for make, near in (
        (lambda: PersistenceConfig(conversation_ulr="memory://"), "conversation_url"),  # type: ignore[call-arg]
        (lambda: PersistenceOrchestrator(conversaton_store=None), "conversation_store"),  # type: ignore[call-arg]
        (
            lambda: PersistenceOrchestrator(
                config=PersistenceConfig(conversation_url="memory://", conversation_options={"nam": "a"})
            ),
            "name",
        ),
        (
            lambda: PersistenceOrchestrator.from_config(
                PersistenceConfig(knowledge_store="memory", knowledge_options={"table_prefx": "a"})
            ),
            "table_prefix",
        ),
    ):
        with pytest.raises(UnknownOptionError, match=f"did you mean '{near}'") as caught:
            make()
        assert isinstance(caught.value, ConfigurationError)
        assert isinstance(caught.value, TypeError)
    with pytest.raises(TypeError, match="takes from"):
        PersistenceConfig(*range(14))
    assert PersistenceConfig.from_dict({"conversation_ulr": "secret", "others": 1}) == PersistenceConfig()
    assert "'conversation_ulr' is not known; did you mean 'conversation_url'" in caplog.text
    assert "others" not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.needs_packages("mysql", "singlestore")
def test_singlestore_takes_the_urls_of_its_protocol() -> None:
    given = {"conversation_store": "singlestore", "conversation_url": "mysql://u:p@localhost/d"}
    assert PersistenceConfig(**given).validate()


@pytest.mark.needs_packages("sqlite")
def test_a_named_store_and_the_url_of_another_one_contradict_each_other() -> None:
    both = PersistenceConfig(state_store="sqlite", state_url="memory://u:secret@h")
    for call in (both.validate, lambda: PersistenceOrchestrator(config=both), lambda: create_stores_from_config(both)):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="state: the backend 'sqlite' and .* contradict"):
        both.validate()
    for store, url in (("sqlite", "sqlite:///a.db"), ("async_sqlite", "a.db"), ("memory", None), ("sqlite", "x.data")):
        assert PersistenceConfig(state_store=store.removeprefix("async_"), state_url=url).validate()
