"""What importing costs, listing every installed backend, and a first durable write: whole processes.

The first two beside a bare interpreter, the last beside ``bare_start.py``, a program on ``sqlite3`` alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path

from measuring import Options, Report, clock, interleaved, median

__all__ = ["startup"]

_TITLE = "Start: whole processes beside a bare interpreter"
_DISTS = 30
_GROUPS = ("conversation", "knowledge", "state")

_NOTHING = "pass"
_BARE_WRITE = (Path(__file__).parent / "bare_start.py").read_text(encoding="utf-8")
# The standard library's uuid takes longer to import than sqlite3: what is left when the bare program numbers its ids.
_LEAST_WRITE = _BARE_WRITE.replace("import uuid\n", "").replace("str(uuid.uuid4())", '"1"')
_STORE = "from praisonai_persistence_sqlite import SQLiteConversationStore"
_OURS_WRITE = """
import sys
from praisonai_persistence import ConversationMessage, ConversationSession{name}
{more}
with {store} as store:
    store.create_session(ConversationSession("s"))
    store.add_message("s", ConversationMessage(content="text"))
"""
_CLASS_WRITE = _OURS_WRITE.format(name="", more=_STORE, store="SQLiteConversationStore(path=sys.argv[1])")
_URL_WRITE = _OURS_WRITE.format(
    name=", open_conversation_store", more="", store="open_conversation_store('sqlite:///' + sys.argv[1])"
)
_IMPORT = "import praisonai_persistence"
_ALL = "from praisonai_persistence import *"
_LIST = """
from praisonai_persistence import get_default_registry
listed = {
    kind: (registry.list_registered(), registry.list_aliases())
    for kind in ("conversation", "knowledge", "state")
    for registry in [get_default_registry(kind)]
}
"""
# The program is told apart from what the interpreter had loaded before it: site packages load things of their own.
_LOADED = """
import json, sys
before = set(sys.modules)
{program}
own = "praisonai_persistence"
new = set(sys.modules) - before
print(json.dumps({{
    "third": sorted({{name.partition(".")[0] for name in new}} - set(sys.stdlib_module_names) - {{own, "__main__"}}),
    "new": len(new),
    "listed": globals().get("listed"),
}}))
"""


def _seconds(program: str, environment: dict[str, str], of_processor: list[float], folder: Path | None = None) -> float:
    """Run a program; with a folder its argument is a new file there."""
    path = None if folder is None else folder / f"{len(of_processor)}-{next(_numbers)}.db"
    command = [sys.executable, "-c", program, *([] if path is None else [str(path)])]
    before = _of_processor()
    start = clock()
    subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL)
    taken = clock() - start
    of_processor.append(_of_processor() - before)
    if path is not None:
        path.unlink()
    return taken


_numbers = count()


def _of_processor() -> float:
    """Return the seconds of processor time that all ended child processes took; 0 where nobody counts them."""
    if sys.platform == "win32":
        return 0.0
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _look(program: str, environment: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED.format(program=program)],
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _make_dists(folder: Path) -> None:
    """Lay out installed distributions as an installer does: modules, and a dist-info folder with entry points each."""
    for number in range(_DISTS):
        name = f"stand_in_{number:02}"
        kind = _GROUPS[number % len(_GROUPS)]
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("class Store:\n    pass\n", encoding="utf-8")
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nA stand-in.\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[praisonai.{kind}_stores]\n{name} = {name}:Store\n"
            f"[praisonai.{kind}_stores.aliases]\n{name}_alias = {name}:Store\n",
            encoding="utf-8",
        )
        (info / "RECORD").write_text(f"{name}/__init__.py,,\n", encoding="utf-8")


def startup(report: Report, options: Options) -> str:
    """Measure both; return the section's title."""
    plain = dict(os.environ)
    # Modules are compiled once, before the clock runs, as on any machine that runs them a second time.
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    site = options.folder / "site"
    _make_dists(site)
    many = {**plain, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [plain.get("PYTHONPATH")])])}

    given = {
        "bare": (_NOTHING, plain),
        "import": (_IMPORT, plain),
        "all": (_ALL, plain),
        "bare with many": (_NOTHING, many),
        "list": (_LIST, many),
        "store": (_STORE, plain),
    }
    written = {"bare": _BARE_WRITE, "least": _LEAST_WRITE, "class": _CLASS_WRITE, "url": _URL_WRITE}
    files = options.folder / "files"
    files.mkdir()
    given |= {f"write, {name}": (program, plain) for name, program in written.items()}
    processor: dict[str, list[float]] = {name: [] for name in given}
    programs = {
        name: partial(_seconds, *what, processor[name], files if name.startswith("write") else None)
        for name, what in given.items()
    }
    for program in programs.values():
        program()
    for seconds in processor.values():
        seconds.clear()
    # The fastest start of a round: what else runs on the machine only ever adds to it, and to a longer one more.
    blocks = 5 if options.quick else 10
    figures = interleaved(options.rounds, programs, blocks, min)

    def over(name: str, beside: str) -> float:
        return median(a - b for a, b in zip(figures[name], figures[beside], strict=True)) * 1000

    bare = median(figures["bare"]) * 1000
    report.state(_TITLE, "import praisonai_persistence, over bare", "ms", over("import", "bare"), bare=bare, at_most=30)
    report.state(_TITLE, "import of every public name, over bare", "ms", over("all", "bare"), bare=bare)
    loaded = _look(_IMPORT, plain)
    third = loaded["third"]
    assert isinstance(third, list)
    report.state(_TITLE, "third-party modules that it loads", "modules", len(third), at_most=0)
    report.note(_TITLE, f"import loads {loaded['new']} modules" + (f", of others: {', '.join(third)}" if third else ""))

    report.state(
        _TITLE, "import of the SQLite conversation store, over bare", "ms", over("store", "bare"), bare=bare, at_most=30
    )
    milliseconds = {name: [value * 1000 for value in figures[f"write, {name}"]] for name in written}
    for ours, how in (("class", "by class"), ("url", "by URL")):
        what = f"start to first durable write, SQLite, {how}"
        report.compare(_TITLE, what, "ms", milliseconds[ours], milliseconds["bare"], at_most=1.45)
        report.compare(_TITLE, f"{what}; bare without uuid", "ms", milliseconds[ours], milliseconds["least"])
        spent = [min(processor[f"write, {name}"]) for name in (ours, "bare", "least")]
        if all(spent):
            report.note(
                _TITLE,
                f"{what}: {spent[0] / spent[1]:.2f} of the bare program's processor time, {spent[0] / spent[2]:.2f} of "
                f"that without uuid",
            )

    report.state(
        _TITLE,
        f"list all kinds, {_DISTS} more dists, over bare",
        "ms",
        over("list", "bare with many"),
        bare=median(figures["bare with many"]) * 1000,
        at_most=50,
    )
    found = _look(_LIST, many)
    plugins = found["third"]
    assert isinstance(plugins, list)
    report.state(_TITLE, "plugin modules that listing loads", "modules", len(plugins), at_most=0)
    listed = found["listed"]
    assert isinstance(listed, dict)
    # Where other programs keep the machine busy, this says more than the time that passes.
    for name, beside, what in (
        ("import", "bare", "import"),
        ("store", "bare", "import of the store"),
        ("list", "bare with many", "listing"),
    ):
        more = (min(processor[name]) - min(processor[beside])) * 1000
        report.state(_TITLE, f"processor time of that {what}, over bare", "ms", more)
    names = sum(len(names) for names, _ in listed.values())
    aliases = sum(len(aliases) for _, aliases in listed.values())
    if names < _DISTS or aliases < _DISTS:
        raise RuntimeError(f"only {names} backends and {aliases} aliases were listed; {_DISTS} of each were laid out")
    report.note(
        _TITLE, f"listed: {names} backends, {aliases} aliases; 'bare' is the whole process of a bare interpreter"
    )
    return _TITLE
