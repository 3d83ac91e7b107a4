"""Connection URLs: reading them, and showing them without their secrets."""

from __future__ import annotations

from praisonai_persistence._declare import dataclass
from praisonai_persistence.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

__all__ = ["StoreURL", "check_parameters", "file_path", "mask", "parse_url", "scheme_of", "socket_path", "url_text"]

# Compiled when a URL needs them, by the functions of re, which keep what they have compiled.
_SCHEME = r"(?a:([A-Za-z][A-Za-z0-9._-]*)(?:\+([A-Za-z][A-Za-z0-9._-]*))?://)"
_NO_SLASHES = r"(?a:([A-Za-z][A-Za-z0-9._+-]+):(?!//|\d+(?:/|$))[^@]*$)"  # one letter is a drive, a number a port
_CONTROL = r"[\0-\x1f\x7f]"
# What may stand before a user's name: a scheme, as it should be written or nearly so.
_START = r"(?a:(?:[A-Za-z][A-Za-z0-9+._-]*(?::/*|/{2,}))?/*)"
_HOST = r"(?:\[[^,\[\]]+\]|[^,:\[\]]+)(?::\d{1,5})?"
_HOSTS = rf"{_HOST}(?:,{_HOST})+"
_NO_PORT = r"^([^/?#]*://[^/?#:\[]*:)(?!\d*(?:[/?#]|$))[^/?#]*"  # somebody forgot the host
_NAME = r"[^=&;?#\s]*"
_TELLING = rf"(?i)((?:^|[?&;#\s]){_NAME}(?:pass|pwd|secret|token|key|credential|auth|sig){_NAME}\s*=)[^&]*"
_FILES = (".db", ".sqlite", ".sqlite3")

_ESCAPES = "in a user's name or a password write / as %2F, : as %3A, ? as %3F, # as %23 and @ as %40"


def mask(url: str) -> str:
    """Return the URL with its password, and every parameter that is named like a secret, as ``***``.

    Made for any text, also one that is no URL, and rather hides too much: passwords are often written without the
    escapes that they need, so all from the first ``:`` behind the scheme to the last ``@`` is taken for one.
    """
    import re

    start = re.match(_START, url)
    begin, at = start.end() if start else 0, url.rfind("@")
    if at >= begin:
        user, colon, _ = url[begin:at].partition(":")
        if colon:
            url = f"{url[:begin]}{user}:***{url[at:]}"
        elif not url[:begin].endswith("///"):  # a file's name may hold @; a user without a password may be a token
            url = f"{url[:begin]}***{url[at:]}"
    else:
        url = re.sub(_NO_PORT, r"\1***", url)
    return re.sub(_TELLING, r"\1***", url)


@dataclass(frozen=True, slots=True, repr=False)
class StoreURL:
    """The parts of a connection URL.

    Attributes:
        scheme: in lower case, without a variant: ``postgresql``.
        variant: what stands behind ``+`` in the scheme: ``asyncpg``, or the empty text.
        username: decoded, or None.
        password: decoded, or None.
        host: in lower case, or None; of several, as they stand: ``one:26379,[::1]:26379``.
        port: 0 to 65535, or None; None also where there are several hosts.
        path: decoded, as it stands behind the authority, with its leading slash.
        query: the parameters; of a repeated one the last.
        text: the URL as it was given.
    """

    scheme: str
    variant: str
    username: str | None
    password: str | None
    host: str | None
    port: int | None
    path: str
    query: dict[str, str]
    text: str

    def __str__(self) -> str:
        return mask(self.text)

    def __repr__(self) -> str:
        return f"StoreURL({mask(self.text)!r})"


def _is_ambiguous(authority: str, path: str, query: str) -> bool:
    """Whether there may be a password that lacks its escapes.

    It may begin with the port, and go on behind the authority: there an ``@`` has to be escaped, if the authority has
    anything but a host. Users' names are the exception, in a parameter of their own.
    """
    user, at, _ = authority.rpartition("@")
    if at:
        return "@" in user or ":" in user.partition(":")[2] or "@" in path or "@" in query
    if ":" not in authority.rpartition("]")[2] and "," not in authority:
        return False
    return "@" in path or any("@" in part and not _names_user(part) for part in query.split("&"))


def _names_user(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.lower() in {"user", "username"} and value.count("@") == 1 and not {"/", ":", "?", "#"} & set(value)


def url_text(url: str | os.PathLike[str]) -> str:
    """Return a URL as text; an ``os.PathLike`` is the path of a SQLite file.

    Raises:
        ConfigurationError: it is neither, or such a path has no ending that SQLite files have.
    """
    if isinstance(url, str):
        return url
    path = url.__fspath__() if hasattr(url, "__fspath__") else None
    if not isinstance(path, str):
        raise ConfigurationError(f"a URL must be text, or the path of a SQLite file, not {type(url).__name__}")
    if not _is_file(path):
        raise ConfigurationError(
            f"{path!r} does not say which backend it is of: write a URL, as sqlite:///{path}; only names that end in "
            f"{', '.join(_FILES)} are taken for SQLite files"
        )
    return f"./{path}" if ":" in path.partition("/")[0] else path


def scheme_of(url: object) -> str:
    """Return the scheme of a URL in lower case, as [parse_url][] does; the empty text: it has none, or is no text.

    For backends that look at a URL before it is read. Schemes have no case: ``HTTP://host`` is ``http://host``.
    """
    scheme, separator, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    return scheme.lower() if separator else ""


def parse_url(url: str | os.PathLike[str]) -> StoreURL:
    """Return the parts of ``scheme[+variant]://[user[:password]@][host][:port][/path][?query]``.

    There may be several ``host:port``, with commas between them, as clusters have them.

    A bare path that ends in ``.db``, ``.sqlite`` or ``.sqlite3``, as text or as an ``os.PathLike``, counts as
    ``sqlite:///path``.

    Raises:
        ConfigurationError: it has no scheme, or a part that cannot be one; the message shows the URL masked.
    """
    url = url_text(url)
    plain = _parse_plain(url)
    if plain is not None:
        return plain
    import re

    match = re.match(_SCHEME, url)
    if match is None:
        lacking = re.match(_NO_SLASHES, url)
        if lacking is not None:
            name = lacking[1].lower()
            example = "sqlite" if name == "file" else name
            raise ConfigurationError(
                f"{mask(url)!r} is not a store URL: write {example}://...; for files {example}:///name with a relative "
                f"path, {example}:////folder/name with an absolute one"
            )
        if "://" not in url and _is_file(url):
            return StoreURL("sqlite", "", None, None, None, None, "/" + url, {}, url)
        raise ConfigurationError(
            f"{mask(url)!r} is not a store URL: write scheme://..., for example sqlite:///agent.db, "
            f"or the path of a file that ends in .db"
        )
    if re.search(_CONTROL, url):
        raise ConfigurationError(f"{mask(url)!r} is not a store URL: it holds a control character; write it as %0A")
    from contextlib import suppress
    from urllib.parse import parse_qsl, unquote, urlsplit  # stores that get no URL do without

    # urlsplit repeats the authority in its messages, and with it a password.
    authority = re.split("[/?#]", url[match.end() :], maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    several = re.fullmatch(_HOSTS, hosts) is not None  # to urlsplit, brackets among others are malformed
    start = f"//{user}{at}{'hosts' if several else hosts}"
    parts = None
    with suppress(ValueError):  # which quotes the authority, and with it a password
        parts = urlsplit(start + url[match.end() + len(authority) :], allow_fragments=False)  # a file name may hold #
    if parts is None:
        raise ConfigurationError(f"{mask(url)!r} is not a store URL: its host is malformed")
    port: int | None = -1
    with suppress(ValueError):  # which quotes what may be a part of a password
        host, port = (hosts.lower(), None) if several else (parts.hostname or None, parts.port)
    if port == -1:
        raise ConfigurationError(f"{mask(url)!r} is not a store URL: its port is no number from 0 to 65535; {_ESCAPES}")
    if _is_ambiguous(authority, parts.path, parts.query):
        raise ConfigurationError(
            f"{mask(url)!r} can be read in two ways, because a character is not escaped: {_ESCAPES}; the @ also in a "
            f"path or a parameter"
        )
    return StoreURL(
        scheme=match[1].lower(),
        variant=(match[2] or "").lower(),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        host=host,
        port=port,
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        text=url,
    )


def _is_file(url: str) -> bool:
    name = url.lower()
    return any(name.endswith(end) and len(name) > len(end) for end in _FILES)


def _parse_plain(url: str) -> StoreURL | None:
    """Return the parts of a URL without a user, a port, parameters, escapes and anything else unusual; None for others.

    Embedded stores have such URLs, and importing ``re`` and ``urllib.parse`` takes as long as all else that they need
    at their start.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    usual = scheme.replace("_", "").replace("-", "").replace(".", "")
    if (
        not separator
        or not (url.isascii() and url.isprintable() and usual.isalnum() and scheme[:1].isalpha())
        or any(character in rest for character in "%?")
        or any(character in authority for character in "@:[],;\\ #")
    ):
        return None
    return StoreURL(scheme.lower(), "", None, None, authority.lower() or None, None, slash + path, {}, url)


def file_path(url: str | os.PathLike[str], schemes: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the path and the parameters of an embedded backend's URL.

    Three slashes lead to a relative path, four to an absolute one; ``scheme://name`` is relative too. An empty path,
    and ``:memory:``, are for the backend to interpret.

    Args:
        url: the URL, or a bare path of a database file.
        schemes: those that the backend answers to.

    Raises:
        ConfigurationError: another scheme, or a user, password or port, which no file has.
    """
    url = url_text(url)
    parsed = parse_url(url)
    if parsed.scheme not in schemes:
        raise ConfigurationError(f"{mask(url)!r} has the scheme {parsed.scheme!r}, not {' or '.join(schemes)}")
    if parsed.username is not None or parsed.port is not None:
        raise ConfigurationError(f"{mask(url)!r} names a user or a port; a file has none")
    if parsed.host is None:
        return parsed.path[1:], parsed.query
    authority = url.partition("://")[2].partition("?")[0].partition("/")[0]  # hosts lose their case, names must not
    if "%" in authority:
        from urllib.parse import unquote

        authority = unquote(authority)
    return authority + parsed.path, parsed.query


def socket_path(parsed: StoreURL) -> str | None:
    """Return the path of a socket that stands in the place of the host, where its slashes are written as ``%2F``.

    None: there is a host, or nothing.
    """
    if not (parsed.host or "").lower().startswith("%2f"):
        return None
    from urllib.parse import unquote

    authority = parsed.text.partition("://")[2].partition("?")[0].partition("/")[0]  # a host loses its case
    path = authority.rpartition("@")[2]
    return unquote(path if parsed.port is None else path.rpartition(":")[0])


def check_parameters(
    title: str, given: Iterable[str], takes: Iterable[str], meant: Mapping[str, str] | None = None
) -> None:
    """Check the names of a URL's parameters.

    Args:
        title: of the engine, for the message.
        given: the names that stand in the URL.
        takes: those that it may have, as the message shows them.
        meant: other names, and what to say about each; names that mean the same may stand here too.

    Raises:
        ConfigurationError: there is no such parameter; the message says which there are, and the nearest name.
    """
    names = list(takes)
    for name in given:
        if name in names:
            continue
        if meant is not None and name in meant:
            hint = meant[name]
        else:
            from praisonai_persistence._checks import nearest

            near = nearest(name.lower(), names)
            hint = f"did you mean {near!r}?" if near else ""
        told = f"a URL of {title} takes {', '.join(names) or 'no parameters'}, not {name!r}"
        raise ConfigurationError(f"{told}; {hint}" if hint else told)
