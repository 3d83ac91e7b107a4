"""What other users of the machine see of this process' arguments (``ps``): no passwords.

On Linux a process may overwrite its arguments in its own memory, from which the kernel reads what it shows. What stood
there before Python ran can have been seen for that moment; files and the environment, which only its owner can read,
show nothing at any time.
"""

from __future__ import annotations

import re

__all__ = ["hide_arguments", "secret_spans"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*://.*", re.DOTALL)


def secret_spans(argument: str) -> list[tuple[int, int]]:
    """Return where in an argument secrets of a URL stand, as ``(begin, end)``."""
    from praisonai_persistence.urls import mask

    found = _URL.search(argument)
    if found is None:
        return []
    url, begin = found[0], found.start()
    masked = mask(url)
    if masked == url:
        return []
    # Mask replaces: what it has left alone at the beginning and at the end is no secret.
    most = min(len(url), len(masked))
    before = next((n for n in range(most) if url[n] != masked[n]), most)
    after = next((n for n in range(most - before) if url[-1 - n] != masked[-1 - n]), most - before)
    return [(begin + before, begin + len(url) - after)]


def hide_arguments() -> None:
    """Overwrite the secrets in this process' arguments with asterisks, where the system lets it."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            shown = file.read()
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        begin, end = int(fields[45]), int(fields[46])  # arg_start, arg_end
        if not begin or end - begin != len(shown):
            return
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(begin)
            if memory.read(len(shown)) != shown:
                return
            place = begin
            for argument in shown.split(b"\0"):
                for first, last in secret_spans(argument.decode("latin-1")):  # one character for each byte
                    memory.seek(place + first)
                    memory.write(b"*" * (last - first))
                place += len(argument) + 1
    except (OSError, ValueError, IndexError):
        return
