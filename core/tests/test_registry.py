"""Names, aliases and URL schemes: how a backend is found, and what is said when it is not.

Plugins are real distributions (modules and metadata in a folder on ``sys.path``), found as installed ones are.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import subprocess
import sys
import threading
import traceback
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence import (
    CONVERSATION_STORES,
    KNOWLEDGE_STORES,
    STATE_STORES,
    AmbiguousBackendError,
    AsyncConversationStore,
    AsyncStateStore,
    BackendInfo,
    BackendNotInstalledError,
    BrokenPluginError,
    ConfigurationError,
    KnowledgeStore,
    PersistenceError,
    StateStore,
    StoreRegistry,
    UnknownBackendError,
    _entry_points,
    create_conversation_store,
    create_knowledge_store,
    create_state_store,
    get_default_registry,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)
from praisonai_persistence._known import KNOWN
from praisonai_persistence.memory import AsyncMemoryStateStore, MemoryStateStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Site

GROUPS = [f"praisonai.{kind}_stores{suffix}" for kind in KNOWN for suffix in ("", ".aliases")]

# A third party's plugin, as PraisonAI's documentation shows it.
FACTORY = """
class Store:
    def __init__(self, mode, url, options):
        self.mode, self.url, self.options = mode, url, options

def create_store(url=None, **kwargs):
    return Store("sync", url, kwargs)

def create_async_store(url=None, **kwargs):
    return Store("async", url, kwargs)
"""


def factory(url: str | None = None, **options: Any) -> SimpleNamespace:
    return SimpleNamespace(url=url, options=options)


def only(**stores: Any) -> StoreRegistry:
    """Return a registry of its own that knows nothing that is installed."""
    registry = StoreRegistry("state")
    for name, made in stores.items():
        registry.register(name, made)
    return registry


# ----------------------------------------------------------------------------------------------------- the public calls


def test_the_calls_are_those_of_the_system_that_this_implements() -> None:
    def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    plain, keyword, empty = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.empty,
    )
    registry = StoreRegistry("state")
    assert parameters(registry.register) == [
        ("name", plain, empty),
        ("factory", plain, empty),
        ("aliases", keyword, ()),
    ]
    assert parameters(registry.create) == [("name", plain, empty), ("kwargs", inspect.Parameter.VAR_KEYWORD, empty)]
    assert parameters(registry.list_registered) == parameters(registry.list_aliases) == []
    assert registry.register("x", factory) is None
    assert registry.list_registered() == ["x"]
    assert registry.list_aliases() == {}


def test_register_create_and_list() -> None:
    registry = StoreRegistry("state")
    registry.register("zeta", factory, aliases=("z", "a"))
    registry.register("alpha", MemoryStateStore)
    assert registry.list_registered() == ["alpha", "zeta"]
    assert list(registry.list_aliases().items()) == [("a", "zeta"), ("z", "zeta")]
    for name in ("zeta", "z", "a"):
        made = registry.create(name, url="u", extra=1)
        assert (made.url, made.options) == ("u", {"extra": 1})
    assert isinstance(registry.create("alpha", table_prefix="x_"), MemoryStateStore)
    assert registry.create("alpha") is not registry.create("alpha")
    assert registry.backends() == [BackendInfo("alpha", (), "", "", ""), BackendInfo("zeta", ("a", "z"), "", "", "")]


def test_the_three_default_registries() -> None:
    assert get_default_registry() is get_default_registry("conversation") is CONVERSATION_STORES
    assert get_default_registry("knowledge") is KNOWLEDGE_STORES
    assert get_default_registry("state") is STATE_STORES
    for registry, kind in (
        (CONVERSATION_STORES, "conversation"),
        (KNOWLEDGE_STORES, "knowledge"),
        (STATE_STORES, "state"),
    ):
        assert (registry.kind, registry.group) == (kind, f"praisonai.{kind}_stores")
        assert {"memory", "async_memory"} <= set(registry.list_registered())
    with pytest.raises(
        ConfigurationError, match="there is no kind 'stat'; the kinds are conversation, knowledge, state"
    ):
        get_default_registry("stat")


def test_registering_again_replaces_and_keeps_the_aliases() -> None:
    registry = StoreRegistry("state")
    registry.register("x", lambda: "old", aliases=["a", "b"])
    registry.register("x", lambda: "new", aliases=["c", "x"])
    assert [registry.create(name) for name in ("x", "a", "b", "c")] == ["new"] * 4
    assert registry.list_aliases() == {"a": "x", "b": "x", "c": "x"}
    registry.register("y", lambda: "other", aliases=["b"])
    registry.register("a", lambda: "own")
    assert [registry.create(name) for name in ("x", "a", "b", "c")] == ["new", "own", "other", "new"]
    assert registry.list_aliases() == {"b": "y", "c": "x"}


def test_an_alias_cannot_take_the_name_of_a_registered_backend() -> None:
    registry = only(x=lambda: "x")
    with pytest.raises(ConfigurationError, match="'x' is a registered backend, it cannot be an alias of 'y'"):
        registry.register("y", lambda: "y", aliases=["fine", "x"])
    assert registry.list_registered() == ["x"]
    assert registry.list_aliases() == {}


@pytest.mark.parametrize(
    ("arguments", "aliases", "message"),
    [
        (("", factory), (), "'' cannot be a backend name"),
        ((None, factory), (), "None cannot be a backend name"),
        (("a@b", factory), (), "cannot be a backend name: it is empty or holds '@', ':' or '/'"),
        (("x", factory), ["a:b"], "'a:b' cannot be a backend name"),
        (("x", factory), ["a/b"], "'a/b' cannot be a backend name"),
        (("x", factory), "alias", "aliases must be a sequence of texts, not one text"),
        (("x", "module:factory"), (), "the factory of 'x' must be callable, not str"),
    ],
)
def test_what_cannot_be_registered(arguments: Any, aliases: Any, message: str) -> None:
    registry = StoreRegistry("state")
    with pytest.raises(ConfigurationError, match=message):
        registry.register(*arguments, aliases=aliases)
    assert registry.list_registered() == []


# ------------------------------------------------------------------------------------------------------------ not found


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("redsi", " Did you mean 'redis'?"),
        ("valky", " Did you mean 'valkey'?"),
        ("sqlit", " Did you mean 'sqlite'?"),  # not installed here, but known
        ("zzzzzz", ""),
        ("", ""),
    ],
)
def test_an_unknown_backend_names_what_there_is_and_the_nearest(asked: str, hint: str) -> None:
    registry = only(redis=factory, memory=factory)
    registry.register("other", factory, aliases=["valkey"])
    with pytest.raises(UnknownBackendError) as caught:
        registry.create(asked)
    assert str(caught.value) == f"there is no state backend {asked!r}.{hint} Installed: memory, other, redis"
    assert type(caught.value) is UnknownBackendError
    assert isinstance(caught.value, ValueError)


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(ValueError, match="Installed: none$"):
        StoreRegistry("other").create("x")


def test_a_name_must_be_text_and_no_url() -> None:
    with pytest.raises(UnknownBackendError, match="a backend's name must be text, not NoneType"):
        STATE_STORES.create(None)
    with pytest.raises(UnknownBackendError) as caught:
        create_state_store("redis://me:geheim@host/0")
    assert str(caught.value) == (
        "'redis://me:***@host/0' is a URL and no backend's name: open_state_store(url) takes URLs"
    )


@pytest.mark.parametrize("name", ["sqlite", "async_sqlite", "aiosqlite", "sqlite_async", "json"])
def test_a_known_backend_that_is_not_installed_says_what_to_install(bare_site: Site, name: str) -> None:
    distribution = f"praisonai-persistence-{'json' if 'json' in name else 'sqlite'}"
    for asked in (name, f"{name}@{distribution}", f"{name}@{distribution.replace('-', '_')}"):
        with pytest.raises(BackendNotInstalledError) as caught:
            create_conversation_store(asked)
        assert str(caught.value) == (
            f"the conversation backend {name!r} is not installed; it is in {distribution}: pip install {distribution}"
        )
        assert isinstance(caught.value, ImportError)
        assert isinstance(caught.value, ValueError)


def test_a_known_backend_of_another_distribution_is_unknown(bare_site: Site) -> None:
    with pytest.raises(UnknownBackendError, match="there is no state backend 'sqlite@mine'") as caught:
        STATE_STORES.create("sqlite@mine")
    assert type(caught.value) is UnknownBackendError


# -------------------------------------------------------------------------------------------------------------- plugins


def test_a_third_partys_plugin(bare_site: Site) -> None:
    bare_site.install(
        "my-backend",
        {
            "state": {"mybackend": "my_pkg:create_store", "async_mybackend": "my_pkg:create_async_store"},
            "state.aliases": {"mb": "my_pkg:create_store", "amb": "my_pkg:create_async_store"},
            "knowledge": {"mybackend": "my_pkg:Store"},
        },
        {"my_pkg": FACTORY},
        version="2.5",
    )
    assert STATE_STORES.list_registered() == ["async_mybackend", "mybackend"]
    assert STATE_STORES.list_aliases() == {"amb": "async_mybackend", "mb": "mybackend"}
    assert KNOWLEDGE_STORES.list_registered() == ["mybackend"]
    assert CONVERSATION_STORES.list_registered() == []
    assert STATE_STORES.backends() == [
        BackendInfo("async_mybackend", ("amb",), "my-backend", "2.5", "my_pkg:create_async_store"),
        BackendInfo("mybackend", ("mb",), "my-backend", "2.5", "my_pkg:create_store"),
    ]
    assert STATE_STORES.has("mb")
    assert STATE_STORES.canonical("mb") == "mybackend"
    assert "my_pkg" not in sys.modules  # so far nothing was imported

    made = STATE_STORES.create("mb", url="mb://x", size=3)
    assert (made.mode, made.url, made.options) == ("sync", "mb://x", {"size": 3})
    assert STATE_STORES.create("mybackend").options == {}
    assert open_state_store("amb://host").mode == "async"
    made = KNOWLEDGE_STORES.create("mybackend", mode="red", url=None, options=1)  # the class itself
    assert (type(made).__name__, made.mode) == ("Store", "red")


@pytest.mark.parametrize(
    ("reference", "result"),
    [
        ("deep:Outer.Inner.make", "inner"),
        ("deep : make", "made"),
        ("deep:make [extra]", "made"),
        ("deep:make[a,b]", "made"),
    ],
)
def test_forms_of_references(site: Site, reference: str, result: str) -> None:
    code = "def make(): return 'made'\nclass Outer:\n  class Inner:\n    def make(): return 'inner'\n"
    site.install("deep-plugin", {"state": {"deep": reference}}, {"deep": code})
    assert STATE_STORES.create("deep") == result


def test_metadata_that_are_not_there_or_not_whole(bare_site: Site) -> None:
    remains = bare_site.path / "remains-0.3.dist-info"
    remains.mkdir()
    (remains / "entry_points.txt").write_text(
        "stray = x:y\n[praisonai.state_stores]\n#no=x:y\n;no=x:y\nhalf\n\nremains=nowhere:Store\n[other]\nz = a:b\n"
    )
    (bare_site.path / "no_points-1.0.dist-info").mkdir()
    (bare_site.path / "a_file-1.0.egg-info").write_text("Name: a-file\n")
    bare_site.install("fine", {"state": {"fine": "fine_plugin:Store"}})
    assert STATE_STORES.backends() == [
        BackendInfo("fine", (), "fine", "1.0", "fine_plugin:Store"),
        BackendInfo("remains", (), "remains", "0.3", "nowhere:Store"),
    ]


def test_paths_that_cannot_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("fine", {"state": {"fine": "fine_plugin:Store"}})
    file = site.path / "file.txt"
    file.write_text("")
    odd: list[Any] = ["/no/such/folder", "nul\0", None, 3]
    monkeypatch.setattr(sys, "path", [*odd, *sys.path])
    STATE_STORES.refresh()
    assert "fine" in STATE_STORES.list_registered()


def test_the_empty_path_is_the_current_folder(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("here", {"state": {"here": "here_plugin:create_store"}}, {"here_plugin": FACTORY})
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:]])
    monkeypatch.chdir(site.path)
    STATE_STORES.refresh()
    assert STATE_STORES.create("here").mode == "sync"


def test_refresh_finds_what_was_installed_meanwhile(site: Site) -> None:
    assert "late" not in STATE_STORES.list_registered()
    info = site.path / "late-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[praisonai.state_stores]\nlate = late:Store\n")
    assert "late" not in STATE_STORES.list_registered()  # read once for a process
    STATE_STORES.refresh()
    assert "late" in STATE_STORES.list_registered()


def test_a_registry_of_another_group(site: Site) -> None:
    site.install(
        "grouped", {"praisonai.my_stores": {"mine": "grouped_plugin:create_store"}}, {"grouped_plugin": FACTORY}
    )
    registry = StoreRegistry("state", "praisonai.my_stores")
    assert registry.list_registered() == ["mine"]
    assert registry.create("mine").mode == "sync"


# ---------------------------------------------------------------------------------------------- plugins that are broken


def broken(site: Site, code: str | None, reference: str = "broken_plugin:create_store", **options: Any) -> Any:
    site.install(
        "broken-dist", {"state": {"broken": reference}}, {} if code is None else {"broken_plugin": code}, **options
    )
    assert "broken" in STATE_STORES.list_registered()
    with pytest.raises(PersistenceError) as caught:
        STATE_STORES.create("broken")
    return caught.value


PLUGIN = "the state backend 'broken' (broken_plugin:create_store of broken-dist 1.0)"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('on purpose')", f"{PLUGIN} could not be loaded: RuntimeError: on purpose"),
        ("import sys; sys.exit('bye')", f"{PLUGIN} could not be loaded: SystemExit: bye"),
        ("def (", f"{PLUGIN} could not be loaded: SyntaxError: "),
        (
            "x = 1",
            f"{PLUGIN} could not be loaded: AttributeError: module 'broken_plugin' has no attribute 'create_store'",
        ),
        ("create_store = 'text'", f"{PLUGIN} is not callable: an entry point must name a factory or a class"),
        (
            "import broken_plugin.part",
            f"{PLUGIN} could not be loaded: ModuleNotFoundError: No module named 'broken_plugin",
        ),
        (
            "from os import nothing_such",
            f"{PLUGIN} could not be loaded: ImportError: cannot import name 'nothing_such'",
        ),
        (
            "import praisonai_persistence.of_another_version",
            f"{PLUGIN} could not be loaded: ModuleNotFoundError: No module named 'praisonai_persistence.of_another",
        ),
        (None, f"{PLUGIN} could not be loaded: ModuleNotFoundError: No module named 'broken_plugin'"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_names_its_distribution_and_object(site: Site, code: str, message: str) -> None:
    error = broken(site, code)
    assert type(error) is BrokenPluginError
    assert str(error).startswith(message)
    if "not callable" not in message:
        assert type(error.__cause__).__name__ in message


@pytest.mark.parametrize("reference", ["broken_plugin", "broken_plugin:a b", "", ":create_store", "a..b:c"])
def test_a_reference_that_is_none(site: Site, reference: str) -> None:
    error = broken(site, FACTORY, reference)
    assert type(error) is BrokenPluginError
    assert f"({reference} of broken-dist 1.0)" in str(error)
    assert "is no reference of the form module:object" in str(error) or "is not callable" in str(error)


@pytest.mark.parametrize(
    ("requires", "line"),
    [
        (["no-such-driver>=2"], "broken-dist"),
        (
            ["other[no_such_driver]; extra == 'x'", 'No_Such.Driver>=2; python_version > "3" and extra == "fast"'],
            '"broken-dist[fast]"',
        ),
        ([], "broken-dist"),
    ],
)
def test_a_missing_driver_names_the_module_and_what_to_install(site: Site, requires: list[str], line: str) -> None:
    error = broken(site, "import no_such_driver.part", requires=requires)
    assert type(error) is BackendNotInstalledError
    assert str(error) == f"{PLUGIN} needs the module 'no_such_driver', which is not installed: pip install {line}"
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_a_part_of_an_installed_driver_that_is_missing_is_named_whole(site: Site) -> None:
    error = broken(site, "import json.asynchronous")
    assert type(error) is BackendNotInstalledError
    assert "needs the module 'json.asynchronous', which" in str(error)


def test_an_error_of_our_own_passes(site: Site) -> None:
    error = broken(site, "from praisonai_persistence import ConfigurationError\nraise ConfigurationError('set X')")
    assert type(error) is ConfigurationError
    assert str(error) == "set X"


def test_a_broken_plugin_harms_nobody_else(site: Site) -> None:
    broken(site, "raise RuntimeError")
    assert isinstance(STATE_STORES.create("memory"), MemoryStateStore)


def test_what_a_factory_raises_is_not_touched() -> None:
    def failing() -> None:
        raise TypeError("its own")

    with pytest.raises(TypeError, match="its own"):
        only(x=failing).create("x")


# -------------------------------------------------------------------------------------------------------------- options


class _Slotted:
    def __init__(self, url: str | None = None, *args: int, size: int = 1) -> None:
        self.size = size


def _positional(url: str, /) -> None: ...


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (lambda url, *, size=1: 0, {}, "missing a required argument: 'url'; it takes: url, size"),
        (lambda url=None: 0, {"pasword": "geheim"}, "got an unexpected keyword argument 'pasword'; it takes: url"),
        (lambda: 0, {"url": "geheim"}, "got an unexpected keyword argument 'url'; it takes: no options"),
        (_Slotted, {"sizes": "geheim"}, "got an unexpected keyword argument 'sizes'; it takes: url, size"),
        (_positional, {"url": "geheim"}, "it takes: no options"),
    ],
)
def test_options_that_a_factory_does_not_take(made: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        only(mine=made).create("mine", **options)
    assert str(caught.value).startswith("the state backend 'mine': ")
    assert message in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_factory_without_a_readable_signature_decides_itself() -> None:
    class Odd:
        __signature__ = "unreadable"

        def __call__(self, **options: Any) -> Any:
            return options

    class Deferred(Odd):
        @property
        def __signature__(self) -> inspect.Signature:
            raise NameError("an annotation that only type checkers can read")

    assert only(mine=Odd()).create("mine", x=1) == {"x": 1}
    assert only(mine=Deferred()).create("mine", x=1) == {"x": 1}
    assert only(mine=dict).create("mine", x=1) == {"x": 1}


# -------------------------------------------------------------------------------------------------- one name, two dists


@pytest.fixture
def two(site: Site) -> Site:
    """Two distributions that both provide ``twin``, and one that has the name of an alias of the other."""
    for number in (1, 2):
        module = f"twin_{number}"
        site.install(
            f"Twin.Dist-{number}",
            {
                "state": {"twin": f"{module}:create_store", "async_twin": f"{module}:create_async_store"},
                "state.aliases": {"tw": f"{module}:create_store", f"tw{number}": f"{module}:create_store"},
            },
            {module: FACTORY.replace('"sync"', f'"sync {number}"').replace('"async"', f'"async {number}"')},
        )
    return site


@pytest.mark.parametrize("name", ["twin", "tw"])
def test_two_distributions_with_one_name_are_listed_and_refused(two: Site, name: str) -> None:
    assert STATE_STORES.list_registered().count("twin") == 1
    found = [info for info in STATE_STORES.backends() if info.name == "twin"]
    assert [(info.distribution, info.aliases) for info in found] == [
        ("Twin.Dist-1", ("tw", "tw1")),
        ("Twin.Dist-2", ("tw", "tw2")),
    ]
    for call in (STATE_STORES.create, STATE_STORES.canonical):
        with pytest.raises(AmbiguousBackendError) as caught:
            call(name)
        text = str(caught.value)
        assert text.startswith(f"2 distributions provide the state backend {name!r}: name one as ")
        assert f"'{name}@Twin.Dist-1'" in text
        assert f"'{name}@Twin.Dist-2'" in text
        assert text.endswith("or uninstall the others")


def test_the_way_out_of_two_distributions(two: Site) -> None:
    for name in ("twin@Twin.Dist-2", "tw@twin-dist-2", "tw2", "tw2@TWIN_DIST.2"):
        assert STATE_STORES.create(name).mode == "sync 2"
        assert STATE_STORES.has(name)
        assert STATE_STORES.canonical(name) == "twin"
    assert create_state_store("twin@twin-dist-1", mode="async").mode == "async 1"
    assert create_state_store("async_twin@twin-dist-1", mode="sync").mode == "sync 1"
    for name in ("tw1@twin-dist-2", "twin@somebody", "twin@"):
        assert not STATE_STORES.has(name)
    with pytest.raises(UnknownBackendError) as caught:
        STATE_STORES.create("twin@somebody")
    assert str(caught.value).startswith("there is no state backend 'twin@somebody'; 'twin' is provided by Twin.Dist-")


def test_the_name_of_one_that_is_an_alias_of_another_is_ambiguous_too(site: Site) -> None:
    points = {"state": {"valkey": "other_twin:create_store"}, "state.aliases": {"memory": "other_twin:create_store"}}
    site.install("valkey-dist", points, {"other_twin": FACTORY})
    with pytest.raises(AmbiguousBackendError, match="'memory@praisonai-persistence'"):
        STATE_STORES.create("memory")
    assert STATE_STORES.create("memory@valkey-dist").mode == "sync"
    assert isinstance(STATE_STORES.create("memory@praisonai-persistence"), MemoryStateStore)


def test_a_distribution_that_is_found_twice_is_one(site: Site, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    second = type(site)(tmp_path / "second")
    for place, version in ((site, "2.0"), (second, "1.0")):
        place.install(
            "Again", {"state": {"again": "again_plugin:create_store"}}, {"again_plugin": FACTORY}, version=version
        )
    (second.path / "Again-1.0.dist-info").rename(second.path / "again-1.0.dist-info")
    monkeypatch.setattr(sys, "path", [str(site.path), str(second.path), str(site.path), *sys.path[1:]])
    STATE_STORES.refresh()
    assert [info.version for info in STATE_STORES.backends() if info.name == "again"] == ["2.0"]
    assert STATE_STORES.create("again").mode == "sync"


def test_within_a_distribution_a_backend_comes_before_an_alias(site: Site) -> None:
    points = {"state": {"one": "both_plugin:create_store", "two": "both_plugin:create_async_store"}}
    site.install(
        "both", {**points, "state.aliases": {"one": "both_plugin:create_async_store"}}, {"both_plugin": FACTORY}
    )
    assert STATE_STORES.create("one").mode == "sync"
    assert STATE_STORES.canonical("one@both") == "one"


def test_aliases_belong_to_the_entry_of_their_own_distribution_with_an_equal_value(site: Site) -> None:
    store = "owner_plugin:create_store"
    site.install(
        "owner", {"state": {"owner": store, "twice": store}, "state.aliases": {"ow": store}}, {"owner_plugin": FACTORY}
    )
    site.install("thief", {"state.aliases": {"stolen": store, "lost": "nowhere:x"}})
    aliases = STATE_STORES.list_aliases()
    assert aliases["ow"] == "owner"
    assert not {"stolen", "lost"} & set(aliases)
    assert STATE_STORES.create("ow").mode == "sync"  # two names of one object are not two distributions
    with pytest.raises(UnknownBackendError):
        STATE_STORES.create("stolen")


# ---------------------------------------------------------------------------------------------------------- at run time


def test_what_was_registered_at_run_time_wins_over_plugins(two: Site) -> None:
    registry = StoreRegistry("state", "praisonai.state_stores")
    registry.register("twin", lambda url=None: ("own", url), aliases=["own", "memory"])
    assert registry.create("twin") == ("own", None)
    assert registry.create("tw", url="x") == ("own", "x")  # an installed alias of the name follows it
    assert registry.create("memory") == ("own", None)
    assert registry.create("twin@Twin.Dist-1").mode == "sync 1"
    assert isinstance(registry.create("memory@praisonai-persistence"), MemoryStateStore)
    assert "memory" not in registry.list_registered()
    assert registry.list_aliases()["memory"] == registry.list_aliases()["tw"] == "twin"
    found = {info.name: info for info in registry.backends()}
    assert len(found) == len(registry.backends()) - 1  # async_twin, twice
    assert found["twin"] == BackendInfo("twin", ("memory", "own", "tw", "tw1", "tw2"), "", "", "")
    assert "memory" not in found
    registry.refresh()
    assert registry.create("twin") == ("own", None)


def test_a_backend_with_the_name_of_an_installed_alias(two: Site) -> None:
    registry = StoreRegistry("state", "praisonai.state_stores")
    registry.register("tw1", lambda: "own")
    assert registry.create("tw1") == "own"
    assert "tw1" not in registry.list_aliases()
    assert all("tw1" not in info.aliases for info in registry.backends())


def test_registering_on_the_default_registry_is_seen_by_the_factories() -> None:
    registry = get_default_registry("state")
    registry.register("test_registry_own", factory, aliases=["test_registry_alias"])
    try:
        assert create_state_store("test_registry_alias", "u", size=1).options == {"size": 1}
        assert open_state_store("test_registry_own://h").url == "test_registry_own://h"
    finally:
        del registry._registered["test_registry_own"], registry._registered_aliases["test_registry_alias"]


# -------------------------------------------------------------------------------------------------------------- threads


def test_threads_register_create_and_list_at_once(site: Site) -> None:
    site.install("raced", {"state": {"raced": "raced_plugin:create_store"}}, {"raced_plugin": FACTORY})
    registry = StoreRegistry("state", "praisonai.state_stores")
    workers, rounds = 8, 40
    start = threading.Barrier(workers)

    def work(worker: int) -> None:
        start.wait()
        for turn in range(rounds):
            name = f"own-{worker}-{turn}"
            registry.register(name, lambda name=name: name, aliases=[f"alias-{worker}-{turn}", f"last-{worker}"])
            registry.register("same", lambda worker=worker: worker)
            assert registry.create(name) == registry.create(f"alias-{worker}-{turn}") == name
            assert registry.create(f"last-{worker}") == name
            assert registry.create("same") in range(workers)
            assert registry.create("raced").mode == "sync"
            names = registry.list_registered()
            assert names == sorted(names)
            assert {name, "raced"} <= set(names)
            aliases = registry.list_aliases()
            assert aliases[f"alias-{worker}-{turn}"] == aliases[f"last-{worker}"] == name
            if turn % 10 == 0:
                assert name in {info.name for info in registry.backends()}
            if turn % 8 == worker:
                registry.refresh()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(work, worker) for worker in range(workers)]:
                future.result(60)
    finally:
        sys.setswitchinterval(before)
    assert (
        len(registry.list_registered())
        == len(StoreRegistry("state", registry.group).list_registered()) + workers * rounds + 1
    )
    assert len([alias for alias in registry.list_aliases() if alias.startswith("alias-")]) == workers * rounds


def test_threads_load_one_plugin_once(site: Site) -> None:
    code = "import time\ntime.sleep(0.05)\nclass Store: pass\n"
    site.install("slow-plugin", {"state": {"slow": "slow_plugin:Store"}}, {"slow_plugin": code})
    start = threading.Barrier(8)

    def work() -> Any:
        start.wait()
        return type(STATE_STORES.create("slow"))

    with ThreadPoolExecutor(8) as pool:
        found = [future.result(60) for future in [pool.submit(work) for _ in range(8)]]
    assert len(set(found)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks need a POSIX system")
def test_a_lock_of_another_thread_does_not_stay_locked_in_a_forked_child() -> None:
    code = """if True:
        import os, signal, threading
        from praisonai_persistence import STATE_STORES
        held, leave = threading.Event(), threading.Event()
        def hold():
            with STATE_STORES._lock:
                held.set()
                leave.wait(60)
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if "memory" in STATE_STORES.list_registered() else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        leave.set()
        thread.join()
        raise SystemExit(status)
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=False)
    assert done.returncode == 0


# ---------------------------------------------------------------------------------------------------------------- modes


def test_modes_take_the_variant_of_that_mode() -> None:
    sync, other = StateStore, AsyncStateStore
    for backend, mode, expected in (
        ("memory", "auto", sync),
        ("memory", "sync", sync),
        ("memory", "async", other),
        ("async_memory", "auto", other),
        ("async_memory", "async", other),
        ("async_memory", "sync", sync),
    ):
        assert isinstance(create_state_store(backend, mode=mode), expected)
    assert isinstance(open_state_store("memory://", "async"), other)
    assert isinstance(create_conversation_store("memory", "memory://x", "async"), AsyncConversationStore)
    assert isinstance(create_knowledge_store("memory", mode="sync"), KnowledgeStore)


def test_modes_of_aliases() -> None:
    registry = only(db=lambda: "sync", async_db=lambda: "async")
    registry.register("db", lambda: "sync", aliases=["d"])
    registry.register("async_db", lambda: "async", aliases=["ad"])
    made = [
        create_state_store(name, mode=mode, registry=registry) for name in ("d", "ad") for mode in ("sync", "async")
    ]
    assert made == ["sync", "async"] * 2


def test_a_missing_variant_is_bridged() -> None:
    registry = only(db=lambda url=None: MemoryStateStore(), async_other=AsyncMemoryStateStore, duck=lambda: "quack")
    over_sync = create_state_store("db", mode="async", registry=registry)
    assert isinstance(over_sync, AsyncStateStore)
    over_async = create_state_store("async_other", mode="sync", registry=registry)
    assert isinstance(over_async, StateStore)
    over_async.set("key", [1])
    assert over_async.get("key") == [1]
    assert isinstance(open_state_store("db://", "async", registry=registry), AsyncStateStore)
    assert create_state_store("duck", mode="async", registry=registry) == "quack"


def test_what_a_mode_cannot_be() -> None:
    registry = only(db=factory)
    with pytest.raises(ConfigurationError, match="mode must be 'auto', 'sync' or 'async', not 'asnyc'"):
        create_state_store("db", mode="asnyc", registry=registry)
    with pytest.raises(UnknownBackendError, match="there is no state backend 'dv'"):
        create_state_store("dv", mode="async", registry=registry)


def test_a_backend_is_given_its_url_and_options_only() -> None:
    seen: list[dict[str, Any]] = []
    registry = only(db=lambda **options: seen.append(options))
    options = {"size": 1}
    create_state_store("db", registry=registry, **options)
    create_state_store("db", "db://x", registry=registry, **options)
    open_state_store("db://y", registry=registry, **options)
    assert seen == [{"size": 1}, {"size": 1, "url": "db://x"}, {"size": 1, "url": "db://y"}]
    assert options == {"size": 1}
    one, other = (create_state_store("memory", name="test-registry") for _ in range(2))  # an option called name
    one.set("key", 1)
    assert other.get("key") == 1


# ----------------------------------------------------------------------------------------------------------------- URLs


@pytest.fixture
def family() -> StoreRegistry:
    """A backend with a sync and an async variant, and one of another family."""
    registry = StoreRegistry("state")
    for name, aliases in {
        "mongodb": ["mongo", "mongodb_srv"],
        "async_mongodb": ["motor", "mongodb_async"],
        "redis": [],
    }.items():
        registry.register(name, lambda url, name=name: (name, url), aliases=aliases)
    return registry


@pytest.mark.parametrize(
    ("url", "backend"),
    [
        ("mongodb://h", "mongodb"),
        ("MONGO://h", "mongodb"),
        ("mongo+motor://h", "async_mongodb"),
        ("mongodb+Motor://h", "async_mongodb"),
        ("mongodb+async://h", "async_mongodb"),  # the name mongodb_async
        ("mongodb+srv://h", "mongodb"),
        ("motor+mongo://h", "mongodb"),
        ("redis://h", "redis"),
    ],
)
def test_the_scheme_picks_the_backend_and_its_variant(family: StoreRegistry, url: str, backend: str) -> None:
    assert open_state_store(url, registry=family) == (backend, url)


def test_the_mode_wins_over_the_variant(family: StoreRegistry) -> None:
    assert open_state_store("mongodb+motor://h", "sync", registry=family) == ("mongodb", "mongodb+motor://h")
    assert open_state_store("mongodb://h", "async", registry=family) == ("async_mongodb", "mongodb://h")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mongodb+redis://me:geheim@h",
            "'mongodb+redis://me:***@h': the state backend 'mongodb' has no variant 'redis'",
        ),
        ("mongodb+x://me:geheim@h", "'mongodb+x://me:***@h': the state backend 'mongodb' has no variant 'x'"),
        (
            "mangodb://me:geheim@h",
            "there is no state backend 'mangodb'. Did you mean 'mongodb'? Installed: async_mongodb",
        ),
        ("mangodb+motor://me:geheim@h", "there is no state backend 'mangodb'. Did you mean 'mongodb'?"),
        (
            "sqlite+aiosqlite://geheim@h",
            "the state backend 'sqlite' is not installed; it is in praisonai-persistence-sqlite",
        ),
    ],
)
def test_urls_of_no_backend(family: StoreRegistry, url: str, message: str) -> None:
    with pytest.raises(UnknownBackendError) as caught:
        open_state_store(url, registry=family)
    assert str(caught.value).startswith(message)
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_bare_paths_are_sqlite(tmp_path: Any) -> None:
    sqlite = pytest.importorskip("praisonai_persistence_sqlite")
    for opened, expected in (
        (open_conversation_store(str(tmp_path / "x.db")), sqlite.SQLiteConversationStore),
        (open_conversation_store("x.sqlite", "async"), sqlite.AsyncSQLiteConversationStore),
        (open_conversation_store("sqlite+aiosqlite:///x.db"), sqlite.AsyncSQLiteConversationStore),
        (open_conversation_store("sqlite+aiosqlite:///x.db", "sync"), sqlite.SQLiteConversationStore),
        (open_state_store("x.sqlite3"), sqlite.SQLiteStateStore),
        (open_knowledge_store("sqlite://"), sqlite.SQLiteKnowledgeStore),
    ):
        assert type(opened) is expected
    with pytest.raises(ConfigurationError, match="'x.txt' is not a store URL"):
        open_state_store("x.txt")


# ----------------------------------------------------------------------------------------------------------- no secrets


@pytest.mark.parametrize(
    "call",
    [
        lambda url: create_state_store(url),
        lambda url: create_state_store("no-such", url),
        lambda url: create_state_store("sqlite@no-such", url),
        lambda url: create_state_store("memory", url),
        lambda url: create_state_store("memory", "memory://", url),  # arguments in the wrong order
        lambda url: create_state_store("memory", mode="async", url=url),
        lambda url: create_state_store("memory", token=url),
        lambda url: open_state_store(url),
        lambda url: open_state_store(url.replace("://", ":/")),
        lambda url: open_state_store(url.replace("host", "host:port")),
        lambda url: open_state_store(url.replace("://", "+x://")),
        lambda url: STATE_STORES.create(url),
        lambda url: STATE_STORES.canonical(url),
        lambda url: STATE_STORES.register(url, factory),
        lambda url: STATE_STORES.register("x", factory, aliases=[url]),
        lambda url: get_default_registry("state").create(url, url=url),
    ],
)
@pytest.mark.parametrize("url", ["unknown://me:geheim@host/0", "no-such://geheim@host?password=geheim"])
def test_no_error_shows_a_secret(call: Callable[[str], object], url: str) -> None:
    with pytest.raises(PersistenceError) as caught:
        call(url)
    # The source lines of a traceback are this file's; what the frames hold is never shown.
    shown = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
    assert "geheim" not in shown


# ------------------------------------------------------------------------------------------------ as importlib.metadata


def ours() -> dict[str, set[tuple[str, str, str, str]]]:
    return {
        group: {
            (p.name, p.value, _entry_points.normalise(p.provider.name), p.provider.version)
            for p in _entry_points.select(group)
        }
        for group in [*GROUPS, "pytest11", "console_scripts"]
    }


def theirs() -> dict[str, set[tuple[str, str, str, str]]]:
    found = {}
    for group in [*GROUPS, "pytest11", "console_scripts"]:
        points = importlib.metadata.entry_points(group=group)
        found[group] = {
            (p.name, p.value, _entry_points.normalise(p.dist.name), p.dist.version) for p in points if p.dist
        }
    return found


def test_folders_are_read_as_importlib_reads_them(two: Site) -> None:
    found = ours()
    assert found == theirs()
    assert len(found["praisonai.state_stores"]) >= 6
    assert len(found["pytest11"]) >= 2
    assert found["console_scripts"]


def test_what_is_no_folder_is_left_to_importlib(two: Site, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "zipped.zip"
    zipped = type(two)(tmp_path / "unzipped")
    zipped.install(
        "zipped", {"state": {"zipped": "zipped_plugin:create_store"}}, {"zipped_plugin": FACTORY}, version="7"
    )
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(zipped.path.rglob("*")):
            file.write(path, path.relative_to(zipped.path))
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    STATE_STORES.refresh()
    assert ours() == theirs()
    assert BackendInfo("zipped", (), "zipped", "7", "zipped_plugin:create_store") in STATE_STORES.backends()
    assert STATE_STORES.create("zipped").mode == "sync"


def test_finders_of_other_tools_are_asked(bare_site: Site, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = type(bare_site)(tmp_path / "elsewhere")
    elsewhere.install("hidden", {"state": {"hidden": "hidden_plugin:Store"}})

    class Finder:
        @staticmethod
        def find_spec(*arguments: Any) -> None:
            return None

        @staticmethod
        def find_distributions(context: Any) -> Any:
            return importlib.metadata.MetadataPathFinder.find_distributions(
                importlib.metadata.DistributionFinder.Context(path=[str(elsewhere.path)])
            )

    assert STATE_STORES.list_registered() == []
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    STATE_STORES.refresh()
    assert STATE_STORES.list_registered() == ["hidden"]


def test_an_alias_cannot_take_the_name_of_an_installed_backend_either():
    registry = StoreRegistry("state", "praisonai.state_stores")
    registry.register_store("mine", lambda **_: 1, aliases=["mine", "my"])
    for taken in ("mine", "memory"):  # registered, and installed
        with pytest.raises(ConfigurationError, match=f"'{taken}' is a state backend, it cannot be an alias of 'other'"):
            registry.register_store("other", lambda **_: 2, aliases=("fine", taken))
    with pytest.raises(ConfigurationError, match="not one text"):
        registry.register_store("other", lambda **_: 2, aliases="memory")
    assert not registry.has("other")
    assert not registry.has("fine")
    registry.register_store("memory", lambda **_: 3)  # which replaces it, and says so
    assert registry.create("memory") == 3


def test_the_names_that_praisonai_has_for_the_methods():
    registry = StoreRegistry("state")
    made = object()
    registry.register_store("mine", lambda **_: made, aliases=["my", "our"])
    assert registry.list_names() == registry.list_registered() == ["mine"]
    assert registry.list_all_names() == ["mine", "my", "our"]
    assert registry.resolve("my")()() is made
    assert registry.is_available("our")
    assert not registry.is_available("other")
    with pytest.raises(UnknownBackendError):
        registry.resolve("other")
    assert registry.unregister("our")  # an alias, which goes alone
    assert not registry.unregister("our")
    assert registry.list_all_names() == ["mine", "my"]
    assert registry.unregister("mine")
    assert not registry.unregister("mine")
    assert not registry.unregister(None)
    assert not registry.unregister(3)
    assert registry.list_all_names() == []


def test_names_are_found_in_any_case():
    registry = StoreRegistry("state", "praisonai.state_stores")
    assert registry.canonical("Memory") == registry.canonical("MEMORY@praisonai-persistence") == "memory"
    assert registry.has("MeMoRy")
    registry.register("MyDb", lambda **_: 1, aliases=["Mine"])
    assert registry.list_all_names()[:1] == ["Mine"]  # names stay as they were given
    for name in ("MyDb", "mydb", "MYDB", "mine", "MINE"):
        assert (registry.create(name), registry.canonical(name)) == (1, "MyDb")
    registry.register("mydb", lambda **_: 2)
    assert (registry.create("MyDb"), registry.create("mydb")) == (1, 2)  # the same spelling comes first
    assert registry.create("MYDB") == 2  # of several, the one in lower case
    registry.register("Memory", lambda **_: 3)  # beside the plugin
    assert (registry.canonical("MEMORY"), registry.canonical("Memory")) == ("memory", "Memory")
    assert registry.unregister("mydb")
    registry.register("MYdb", lambda **_: 4)
    with pytest.raises(UnknownBackendError):
        registry.create("MYDB")  # two are meant as well as each other
    assert registry.unregister("MINE")
    assert not registry.has("mine")
    with pytest.raises(UnknownBackendError, match="Did you mean .memory"):
        registry.create("memori")


def test_a_known_backend_that_is_not_installed_is_known_in_any_case():
    registry = StoreRegistry("state")
    with pytest.raises(BackendNotInstalledError, match="pip install praisonai-persistence-redis"):
        registry.create("Redis")


def test_settings_and_urls_name_backends_in_any_case():
    from praisonai_persistence import create_state_store, open_state_store
    from praisonai_persistence.config import PersistenceConfig
    from praisonai_persistence.orchestrator import PersistenceOrchestrator

    for store in (
        create_state_store("MEMORY"),
        open_state_store("Memory://"),
        create_state_store("Memory", "MEMORY://"),
    ):
        store.set("key", 1)
        assert store.get("key") == 1
        store.close()
    config = PersistenceConfig(state_store="Memory")
    assert config.validate()
    with PersistenceOrchestrator.from_config(config) as orchestrator:
        orchestrator.set_state("key", 1)
