"""Configuration from code and from the environment, and the stores made of it."""

from __future__ import annotations

import asyncio
import traceback

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
    StateStore,
    Stores,
    UnknownBackendError,
    create_stores_from_config,
)

VARIABLES = {
    "PRAISON_CONVERSATION_URL": "conversation_url",
    "PRAISON_KNOWLEDGE_URL": "knowledge_url",
    "PRAISON_STATE_URL": "state_url",
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
