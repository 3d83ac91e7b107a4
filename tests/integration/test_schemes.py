"""What holds of URLs on every backend that reads its options from one: schemes have no case, and mean what they say."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.errors import ConfigurationError, PersistenceError
from praisonai_persistence.registry import get_default_registry

KINDS = ("conversation", "knowledge", "state")
OF_VENDORS = ("couchbases", "file", "http", "https", "mem", "mongodb+srv", "surrealkv", "ws", "wss")
PLACES = ("Name.example", ":c2VjcmV0@name.example", "name.example:7000/Data", "/Folder", "Folder/a", "")
SECRETS = {"key": "sb_secret_x", "api_key": "c2VjcmV0", "token": "t"}


def options_classes() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in KINDS:
        registry = get_default_registry(kind)
        for name in registry.list_registered():
            store: Any = registry._find(name).load(kind)
            options = getattr(store, "options_class", None)
            if options is not None and options.schemes:  # what has none wraps objects of a framework
                found.setdefault(options.__name__, options)
    return found


def read(options: Any, url: str, secret: dict[str, Any]) -> Any:
    """Return what a URL says, or how it is refused; errors show the URL."""
    try:
        return vars(options(url, **secret))
    except (PersistenceError, TypeError) as error:
        return type(error), str(error).lower()


OPTIONS = options_classes()


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_schemes_have_no_case(name: str) -> None:
    options, understood = OPTIONS[name], 0
    secret = {option: value for option, value in SECRETS.items() if option in options.declared}
    for scheme in {*options.schemes, *OF_VENDORS}:
        for place in PLACES:
            usual = read(options, f"{scheme}://{place}", secret)
            understood += isinstance(usual, dict)
            for other in (scheme.upper(), scheme.title()):
                assert read(options, f"{other}://{place}", secret) == usual
    assert understood


def secured() -> list[tuple[str, str]]:
    """Options that say whether to use TLS, of backends whose URLs may say so, too."""
    return [
        (name, option)
        for name, options in sorted(OPTIONS.items())
        for option, one in options.declared.items()
        if {"http", "https"} <= set(options.schemes) and "TLS" in one.meaning and one.default in {None, True, False}
    ]


@pytest.mark.parametrize(("name", "option"), secured())
@pytest.mark.parametrize(("scheme", "tls"), [("https", False), ("http", True)])
def test_a_scheme_and_an_option_that_contradict_each_other(name: str, option: str, scheme: str, tls: bool) -> None:
    options = OPTIONS[name]
    secret = {key: value for key, value in SECRETS.items() if key in options.declared}
    url = f"{scheme}://name.example:7000"
    for said, given in ((url, {option: tls}), (f"{url}?{option}={tls}", {})):
        with pytest.raises(ConfigurationError, match=f"^{scheme}:// is with.* TLS, and {option}={tls} "):
            options(said, **secret, **given)
    for said, given in ((url, {}), (url, {option: not tls}), (f"{url}?{option}={not tls}", {})):
        assert getattr(options(said, **secret, **given), option) is not tls


def test_such_options_are_known() -> None:
    assert {"ClickHouseOptions", "MilvusOptions", "TursoOptions", "WeaviateOptions"} <= {name for name, _ in secured()}
