"""Paths of files and folders, as users write them."""

from __future__ import annotations

import os

from praisonai_persistence.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["local_path", "make_private"]


def local_path(value: Any, option: str = "path") -> str:
    """Return a path as absolute text, with ``~`` and ``~user`` replaced; nothing on the disk is touched.

    Args:
        value: text, bytes, or an ``os.PathLike``.
        option: what the caller calls it; stands in the errors.

    Raises:
        ConfigurationError: it is no path, is a URL, is empty, holds NUL or a character that no file name has, begins
            with ``~/`` where no home directory is known, or is relative where the current directory is gone.
    """
    place = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(place, bytes):
        place = os.fsdecode(place)
    if not isinstance(place, str):
        raise ConfigurationError(f"{option} must be a path: text or an os.PathLike, not {type(value).__name__}")
    if not place:
        raise ConfigurationError(f"{option} is empty: give the path of a file or folder ('.' is the current folder)")
    if "\0" in place:
        raise ConfigurationError(f"{option} holds NUL, which no path may")
    try:
        os.fsencode(place)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{option} holds a character that this system's file names cannot have") from error
    scheme, colon, rest = place.partition(":")
    if colon and (rest.startswith("//") or _is_scheme(scheme)):
        raise ConfigurationError(
            f"{option} is the path of a file or folder, and begins as a URL does: leave {scheme}: out, give url= "
            f"instead, or write ./{scheme}: for a file of that name"
        )
    if place[0] == "~":
        found = os.path.expanduser(place)
        if found == place and os.path.dirname(place):  # a name that only begins with ~ is a name
            raise ConfigurationError(
                f"{option} begins with {place.partition('/')[0]!r}, and that home directory is not known: write it "
                f"out, or ./~ for a folder of that name"
            )
        place = found
    try:
        return os.path.abspath(place)
    except OSError as error:
        raise ConfigurationError(
            f"{option} is relative, and there is no current directory any more: give an absolute path"
        ) from error


def _is_scheme(name: str) -> bool:
    from praisonai_persistence._known import KNOWN

    return name == "file" or any(name in known for known in KNOWN.values())


def make_private(folder: str) -> None:
    """Make a folder and those above it, for their owner alone; those that are there stay as they are.

    Raises:
        OSError: it cannot be made, or a file is there.
    """
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    while missing:
        made = missing.pop()
        try:
            os.mkdir(made, 0o700)
        except FileExistsError:
            if not os.path.isdir(made):  # else another process was faster
                raise
