"""What a store can be given: one description, from which its signature, its URL and its documentation come."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence._checks import SECONDS, check_prefix, is_seconds, nearest
from praisonai_persistence._closing import Single
from praisonai_persistence._paths import local_path
from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from praisonai_persistence.drivers.driver import Driver
    from praisonai_persistence.urls import StoreURL

__all__ = ["ApiKeyOptions", "Option", "Options", "OptionsStore", "check_fields", "client_option", "matching", "option"]

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Kind:
    """What values an option takes.

    Args:
        says: in words: ``a number of seconds above 0``.
        accepts: whether a value is one.
        reads: makes one of a text, as in a URL; raises ``ValueError``.
    """

    def __init__(self, says: str, accepts: Callable[[Any], bool], reads: Callable[[str], Any]) -> None:
        self.says = says
        self.accepts = accepts
        self.reads = reads


def _flag(text: str) -> bool:
    return _FLAGS[text.lower()]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _headers(value: Any) -> bool:
    return hasattr(value, "items") and all(isinstance(text, str) for pair in value.items() for text in pair)


KINDS: dict[str, _Kind] = {
    "text": _Kind("text, not empty", lambda value: isinstance(value, str) and bool(value), str),
    "flag": _Kind("True or False", lambda value: isinstance(value, bool), _flag),
    "port": _Kind("a number from 1 to 65535", lambda value: _whole(value) and 0 < value < 65536, int),
    "count": _Kind("a whole number above 0", lambda value: _whole(value) and value > 0, int),
    "seconds": _Kind(SECONDS, is_seconds, float),
    "headers": _Kind("a mapping of text to text", _headers, str),
    "object": _Kind("an object", lambda _: True, str),
}
"""The kinds of values. ``object`` takes everything: what there is more to check, the backend checks itself."""


class Option:
    """One option of a store; made by [option][]."""

    def __init__(
        self, default: Any, kind: str | tuple[str, ...] | _Kind, meaning: str, url: bool, server: bool, secret: bool
    ) -> None:
        self.name = ""
        self.default = default
        self.choices = kind if isinstance(kind, tuple) else ()
        self._kind = _choice(kind) if isinstance(kind, tuple) else KINDS[kind] if isinstance(kind, str) else kind
        self.meaning = meaning
        self.url = url
        self.server = server
        self.secret = secret

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def checked(self, value: Any) -> Any:
        """Return a value that was given.

        Raises:
            ConfigurationError: it cannot be one.
        """
        if value is None or self._kind.accepts(value):
            return value
        raise ConfigurationError(f"{self.name} must be {self._kind.says}")

    def read(self, text: str) -> Any:
        """Return the value of a URL's parameter.

        Raises:
            ConfigurationError: it cannot be one.
        """
        try:
            return self.checked(self._kind.reads(text))
        except (KeyError, ValueError):
            raise ConfigurationError(f"{self.name} in the URL must be {self._kind.says.lower()}") from None

    @property
    def default_text(self) -> str:
        """The default for a table: ``none`` where there is none."""
        if self.default is None:
            return "none"
        return f"{self.default:g}" if isinstance(self.default, float) else f"`{self.default}`"


def _choice(names: tuple[str, ...]) -> _Kind:
    return _Kind(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names, str)


def matching(pattern: str, says: str) -> _Kind:
    """Return the kind of text that a regular expression describes as a whole.

    Args:
        pattern: the expression.
        says: it in words: ``at most 100 letters and digits``.
    """
    import re  # here, because not every process needs it

    found = re.compile(pattern)
    return _Kind(says, lambda value: isinstance(value, str) and found.fullmatch(value) is not None, str)


def option(
    default: Any,
    kind: str | tuple[str, ...] | _Kind,
    meaning: str,
    *,
    url: bool = False,
    server: bool = False,
    secret: bool = False,
) -> Any:
    """Declare an option in the body of an [Options][] class.

    Args:
        default: what it is when it is not given; None goes for options that may be absent.
        kind: ``text``, ``flag``, ``port``, ``count``, ``seconds``, ``headers``, ``object``; a tuple of the texts to
            choose from; or what [matching][] returns.
        meaning: for the documentation.
        url: whether it may stand in a URL as a parameter.
        server: whether it makes sense for a server only, not for a folder or for memory.
        secret: never shown.
    """
    return Option(default, kind, meaning, url, server, secret)


def client_option(client: str, asynchronous: str) -> Any:
    """Declare the option ``client``, which the options class also names in ``clients``: a client of the caller's own.

    Args:
        client: what it is, for the documentation: ``a `QdrantClient```.
        asynchronous: the class of that for the async store.
    """
    whose = f"{client} (`{asynchronous}` for the async store) of yours"
    return option(None, "object", f"{whose} instead of a place; it stays open")


class Options(Single):
    """What a store of a backend was given, checked; nothing is touched.

    Derive from it, say where the engine can be, and declare what it can be given with [option][]. An object has each
    option as an attribute, and ``path`` (absolute; None: not in a folder) or ``host`` and ``port``.

    Args:
        url: a connection URL.
        given: options by name; None counts as not given. They win over the URL's parameters.

    Raises:
        ConfigurationError: no place, more than one, or a value that cannot be.
        InvalidIdentifierError: a prefix that cannot be one.
        TypeError: an option that there is not.
    """

    title: ClassVar[str] = "the engine"
    """Its name in prose: ``Qdrant``."""
    schemes: ClassVar[tuple[str, ...]] = ()
    """Of its URLs, the usual one first."""
    servers: ClassVar[bool] = False
    """Whether there can be a server: ``scheme://host:port``."""
    folders: ClassVar[bool] = False
    """Whether it can be embedded, in a folder or file: ``scheme:///path``."""
    memory: ClassVar[bool] = False
    """Whether it can be embedded, in memory: ``scheme://``; as a path ``:memory:``."""
    default_port: ClassVar[int] = 0
    default_host: ClassVar[str | None] = None
    """Where a server is when nothing was said; None: that is refused."""
    clients: ClassVar[tuple[str, ...]] = ()
    """Options of which each stands for the place: a client that the caller hands in."""
    user_is: ClassVar[str | None] = None
    """The option that a URL's user is."""
    password_is: ClassVar[str | None] = None
    """The option that a URL's password is."""
    path_is: ClassVar[str | None] = None
    """The option that a server URL's path is: its database."""
    tls_is: ClassVar[str | None] = None
    """The flag that says whether to use TLS; where it is not given, ``https://`` or ``http://`` does."""
    tls_port: ClassVar[int] = 443
    """The server's port where TLS is used and no port is given."""
    clouds: ClassVar[tuple[str, ...]] = ()
    """How the names of hosts end that are reached with TLS, as those of the vendor's own hosting."""
    hint: ClassVar[str] = ""
    """Where secrets go, if not into the URL; stands in the error about a URL that has one."""

    table_prefix = option("praison_", "object", "separates stores in one place")

    declared: ClassVar[dict[str, Option]] = {}

    def __init_subclass__(cls) -> None:
        declared: dict[str, Option] = {}
        for base in reversed(cls.__mro__):
            declared.update({name: value for name, value in vars(base).items() if isinstance(value, Option)})
        cls.declared = {name: one for name, one in declared.items() if getattr(cls, name, None) is not None}

    def __init__(self, url: str | None = None, **given: Any) -> None:
        found = {name: value for name, value in given.items() if value is not None}
        if unknown := sorted(set(given) - {*self.declared, *self._places()}):
            raise self._unknown(unknown[0])
        place: dict[str, Any] = {name: found.pop(name) for name in ("path", "host", "port") if name in found}
        client = [name for name in self.clients if name in found]
        if url is not None:
            place, found = self._from_url(url, place, found)
        for name, value in found.items():
            self.declared[name].checked(value)
        self.path: str | None = None
        self.host: str | None = None
        self.port = self.default_port
        self._locate(url, place, found, client)
        for name, one in self.declared.items():
            setattr(self, name, found.get(name, one.default))
        if self.tls_is is not None:
            self._secure(self.tls_is, found.get(self.tls_is), url or "", given="port" in place)
        if "table_prefix" in self.declared:
            self.table_prefix = check_prefix(self.table_prefix)

    @classmethod
    def _places(cls) -> list[str]:
        return [*(["path"] if cls.folders or cls.memory else []), *(["host", "port"] if cls.servers else [])]

    @classmethod
    def names(cls) -> list[str]:
        """The names of all that can be given by keyword."""
        return [*cls._places(), *cls.declared]

    @classmethod
    def _unknown(cls, name: str) -> TypeError:
        near = nearest(name, ["url", *cls.names()])
        meant = f"; did you mean {near!r}?" if near else f": {', '.join(cls.names())}"
        return TypeError(f"{cls.title} has no option {name!r}{meant}")

    # ------------------------------------------------------------------------------------------------------------ place

    @classmethod
    def forms(cls) -> str:
        """How the place can be given, for errors."""
        scheme = cls.schemes[0] if cls.schemes else "scheme"
        port = f":{cls.default_port}" if cls.default_port else ""
        forms = [f"url='{scheme}://host{port}'"] if cls.servers else []
        forms += [f"url='{scheme}:///folder'"] if cls.folders else []
        return ", ".join([*forms, *(f"{name}=..." for name in (*cls._places(), *cls.clients) if name != "port")])

    def _locate(self, url: str | None, place: dict[str, Any], found: dict[str, Any], client: list[str]) -> None:
        said = [name for name in ("path", "host") if name in place]
        if client:
            own = [*(["url"] if url is not None else []), *said, *(["port"] if "port" in place else [])]
            if own or len(client) > 1:
                others = ", ".join([*own, *client[1:]])
                raise ConfigurationError(f"{client[0]} knows its place: {others} cannot be given beside it")
            return
        if not said and self.default_host is not None:
            said, place["host"] = ["host"], self.default_host
        if len(said) != 1:
            raise ConfigurationError(f"say where {self.title} is by one of {self.forms()}")
        if said == ["path"]:
            misplaced = [name for name in found if self.declared[name].server]
            misplaced += ["port"] if "port" in place else []
            if misplaced:
                raise ConfigurationError(f"{', '.join(sorted(misplaced))}: for a server, but there is no host")
            self.path = self._folder(place["path"])
            return
        host = place["host"]
        if not isinstance(host, str) or not host:
            raise ConfigurationError("host must be text, not empty")
        port = place.get("port", self.default_port)
        if not KINDS["port"].accepts(port):
            raise ConfigurationError(f"port must be {KINDS['port'].says}")
        self.host, self.port = host, port

    def _folder(self, path: Any) -> str:
        place: Any = os.fspath(path) if isinstance(path, os.PathLike) else path
        if place == ":memory:":
            if not self.memory:
                raise ConfigurationError(f"{self.title} cannot be in memory: give the path of a folder")
            return ":memory:"
        if not self.folders:
            raise ConfigurationError(f"{self.title} cannot be in a folder: {self.forms()}")
        if isinstance(place, str) and "://" in place:
            raise ConfigurationError(f"path must be a local path; a URL goes to url={self.schemes[0]}://...")
        return local_path(place)

    def _secure(self, flag: str, said: bool | None, url: str, *, given: bool) -> None:
        """Settle whether TLS is used, and at which port unless that was given; without a server neither."""
        if self.host is None:
            return
        from praisonai_persistence.urls import scheme_of

        scheme = scheme_of(url)
        of_url = {"https": True, "http": False}.get(scheme)
        if said is None:
            default = self.declared[flag].default if of_url is None else of_url
            said = bool(default) or self.in_cloud
        elif of_url not in {None, said}:
            with_tls, without = ("with TLS", "without it") if of_url else ("without TLS", "with it")
            raise ConfigurationError(f"{scheme}:// is {with_tls}, and {flag}={said} {without}: give one of them")
        setattr(self, flag, said)
        if said and not given:
            self.port = self.tls_port

    @property
    def in_cloud(self) -> bool:
        """Whether the server is at one of the hosts of ``clouds``."""
        return self.host is not None and self.host.lower().endswith(self.clouds)

    # -------------------------------------------------------------------------------------------------------------- URL

    def _from_url(
        self, url: str, place: dict[str, Any], found: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        from praisonai_persistence.urls import check_parameters, parse_url

        parsed = parse_url(url)
        if parsed.scheme not in self.schemes:
            raise ConfigurationError(f"{parsed} has the scheme {parsed.scheme!r}, not {self.schemes[0]}")
        if "path" in place or "host" in place:
            raise ConfigurationError(f"say where {self.title} is by one of {self.forms()}")
        check_parameters(self.title, parsed.query, [name for name, one in self.declared.items() if one.url])
        stated: dict[str, Any] = {name: self.declared[name].read(text) for name, text in parsed.query.items()}
        if parsed.host is None or not self.servers:
            place = {"path": self._path_of(parsed, url), **place}
        else:
            place = {"host": parsed.host, **({} if parsed.port is None else {"port": parsed.port}), **place}
            stated.update(self._of_server(parsed))
        return place, {**stated, **found}

    def _path_of(self, parsed: StoreURL, url: str) -> str:
        if parsed.username is not None or parsed.password is not None or parsed.port is not None:
            raise ConfigurationError(f"{parsed} names a user or a port, but no host")
        if parsed.host is None:
            return parsed.path[1:] or ":memory:"
        from urllib.parse import unquote

        # Hosts lose their case, names of folders must not.
        return unquote(url.partition("://")[2].partition("?")[0].partition("/")[0]) + parsed.path

    def _of_server(self, parsed: StoreURL) -> dict[str, Any]:
        of_url: dict[str, Any] = {}
        path = parsed.path.strip("/")
        for what, text, name in (
            ("user", parsed.username, self.user_is),
            ("password", parsed.password, self.password_is),
            ("path behind the server", path, self.path_is),
        ):
            if not text:
                continue
            if name is None:
                raise ConfigurationError(f"{parsed} has a {what}, which {self.title} has not{self.hint}")
            of_url[name] = self.declared[name].checked(text)
        return of_url

    # ---------------------------------------------------------------------------------------------------- documentation

    @property
    def authority(self) -> str:
        """Host and port of the server as they stand in a URL: an IPv6 address in brackets."""
        host = str(self.host)
        return f"[{host}]:{self.port}" if ":" in host and not {"[", ","} & set(host) else f"{host}:{self.port}"

    @property
    def where(self) -> str:
        """What errors call the place; holds no secret."""
        if self.host is not None:
            return f"the {self.title} server at {self.authority}"
        if self.path is None:
            return self.title
        return f"{self.title} in memory" if self.path == ":memory:" else f"{self.title} in {self.path}"

    def arguments(self, *names: str) -> dict[str, Any]:
        """Return some of what was given by name, for a client whose arguments have the same names."""
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.where})"

    @classmethod
    def table(cls) -> Iterator[str]:
        """The rows of the table in the README: ``| option | default | meaning |``."""
        yield "| option | default | meaning |"
        yield "|---|---|---|"
        places = [f"`{name}`" for name in ("url", *cls._places(), *cls.clients)]
        port = f"; `port` is {cls.default_port} by default" if cls.servers else ""
        yield f"| {', '.join(places)} | {cls.default_host or 'none'} | where: one of {cls.forms()}{port} |"
        for name, one in cls.declared.items():
            marks = " (also in the URL)" if one.url else ""
            yield f"| `{name}` | {one.default_text} | {one.meaning}{marks} |"

    @classmethod
    def signature(cls) -> Any:
        """The signature of a store's constructor: an ``inspect.Signature``."""
        from inspect import Parameter, Signature

        named = [Parameter("url", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation="str | None")]
        named += [Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in cls._places()]
        named += [Parameter(name, Parameter.KEYWORD_ONLY, default=one.default) for name, one in cls.declared.items()]
        return Signature(named)


def check_fields(options: Options, names: Sequence[str], own: Collection[str]) -> None:
    """Check options that name fields of documents.

    Args:
        options: what was given.
        names: of the options.
        own: fields that the store has beside them.

    Raises:
        ConfigurationError: two are the same, or one is among those of the store.
    """
    fields = [getattr(options, name) for name in names]
    if len({*fields, *own}) < len(fields) + len(own):
        raise ConfigurationError(f"{' and '.join(names)} must differ, and cannot be {', '.join(sorted(own))}")


class ApiKeyOptions(Options):
    """Options of a server that is shown an API key, which in a URL is the password: ``scheme://:KEY@host``."""

    servers = True
    password_is = "api_key"  # noqa: S105 - the name of an option

    api_key = option(None, "text", "the server's; in a URL `scheme://:KEY@host`", server=True, secret=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a server has to answer a request")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.hint = f"; an API key is written {cls.schemes[0]}://:KEY@host"


class _Signature:
    def __get__(self, store: object, owner: type[OptionsStore]) -> Any:
        return owner.options_class.signature()


class OptionsStore:
    """A store that is given the options of its backend; mixed in before the base of its kind, which is given steps.

    Args:
        url: where; see ``options_class``.
        options: see ``options_class``.

    Raises:
        ConfigurationError: no place, more than one, or an option that cannot be.
        InvalidIdentifierError: a prefix that cannot be one.
        TypeError: an option that there is not.
    """

    options_class: ClassVar[type[Options]] = Options
    """Describes what the store can be given."""
    capabilities: frozenset[str]
    """What the store is capable of, if it is on a server. In memory it is neither ``durable`` nor ``shared``."""
    one_process: ClassVar[bool] = False
    """Whether a folder or file is one process' at a time, so that the store is not ``shared`` there."""
    _asynchronous: ClassVar[bool] = False
    """Whether it is the store of async callers."""
    __signature__ = _Signature()

    def __init__(self, url: str | None = None, **options: Any) -> None:
        from praisonai_persistence.drivers.running import make_runner

        given = self.options_class(url, **options)
        if given.path == ":memory:":
            self.capabilities -= {"durable", "shared"}
        elif given.path is not None and self.one_process:
            self.capabilities -= {"shared"}
        steps, driver = self._make(given)
        super().__init__(steps, make_runner(driver, asynchronous=self._asynchronous))  # type: ignore[call-arg]

    def _make(self, options: Any) -> tuple[Any, Driver]:
        """Return the steps and the driver; touches nothing. May take away ``capabilities`` that the place lacks."""
        raise NotImplementedError
