"""The pytest plugin of the conformance kit: markers, the guard against weakened suites, the matrix.

Loaded in every pytest run of an environment that has the core installed, so it imports nothing until a suite is used.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.testing._forks import Forks
from praisonai_persistence.testing._tiers import (
    FORKS,
    QUICK_LIFECYCLE,
    QUICK_OPERATIONS,
    TIERS,
    Tiers,
    add_options,
    takes_turns,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_PACKAGE = "praisonai_persistence.testing"
_CLAUSE = re.compile(r"test_([a-z]\d\d|model)_")
_RUNNING = pytest.StashKey["pytest.Item | None"]()

# Assertions of the kit explain themselves like those of a test module.
pytest.register_assert_rewrite(
    *(
        f"{_PACKAGE}.{name}"
        for name in (
            "_conversation_model",
            "_lifecycle_checks",
            "_lifecycle_network",
            "_lifecycle_place",
            "_lifecycle_starved",
            "_prefixes",
            "_schema",
            "conversation",
            "harness",
            "knowledge",
            "lifecycle",
            "sessions",
            "state",
        )
    )
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    add_options(parser)
    parser.getgroup("praisonai-persistence").addoption(
        "--conformance-report",
        metavar="DIR",
        help="write the matrix of backends and clauses to DIR/matrix.json and DIR/matrix.md",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of the suites."""
    config.addinivalue_line("markers", "clause(*ids): the clauses of the contract that a test of the kit is about")
    config.addinivalue_line(
        "markers",
        f"{QUICK_LIFECYCLE}: on a class of a suite: the quick tier runs the tests of the lifecycle only, since another "
        "class runs the same operations on another place",
    )
    config.addinivalue_line(
        "markers",
        f"{QUICK_OPERATIONS}: on a class of a suite: the quick tier leaves out the tests of the lifecycle, since "
        "another class runs them on the same client",
    )
    config.addinivalue_line("markers", "crash: kills a child process with SIGKILL and looks at what is left")
    config.stash[TIERS] = Tiers(config)
    config.pluginmanager.register(config.stash[TIERS])
    config.stash[FORKS] = Forks()
    config.add_cleanup(config.stash[FORKS].close)
    folder = config.getoption("--conformance-report")
    if folder and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Matrix(Path(folder)))


# --------------------------------------------------------------------------------------------------------------- guard


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    """Refuse a subclass that runs less than its suite."""
    if not isinstance(obj, type) or not collector.classnamefilter(name):
        return
    suites = _suites(obj)
    if not suites:
        return
    if _asyncio_mode(collector.config) == "auto":
        raise collector.CollectError(
            f"{name} is a conformance suite, and pytest-asyncio with asyncio_mode=auto runs its fixtures on another "
            "event loop than its tests: set asyncio_mode=strict"
        )
    if not obj.modes or not {"sync", "async"}.issuperset(obj.modes):  # type: ignore[attr-defined]
        raise collector.CollectError(f'{name}: \'modes\' must name "sync", "async", or both')
    weakened = {
        test
        for suite in suites
        for base in suite.__mro__
        for test in vars(base)
        if test.startswith("test_") and _weak(obj, suite, test)
    }
    if weakened:
        raise collector.CollectError(
            f"{name} deletes or overrides {', '.join(sorted(weakened))}: a test of the contract may be overridden only "
            "with @pytest.mark.xfail(reason=...), and is reported as failing then"
        )


def _suites(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if vars(base).get("_is_suite") is True]


def _weak(cls: type, suite: type, test: str) -> bool:
    found = _defined(cls, test)
    if found is _defined(suite, test):
        return False
    marks = [mark for mark in getattr(found, "pytestmark", ()) if mark.name == "xfail"]
    return not callable(found) or not any(mark.kwargs.get("reason") for mark in marks)


def _asyncio_mode(config: pytest.Config) -> str | None:
    if not config.pluginmanager.hasplugin("asyncio"):
        return None
    try:
        return str(config.getoption("asyncio_mode", None) or config.getini("asyncio_mode"))
    except (ValueError, KeyError):  # a plugin of that name that is another one
        return None


# -------------------------------------------------------------------------------------------------------------- matrix


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note on each item which cells of the matrix it fills; deselect what cannot apply."""
    tiers = config.stash[TIERS]
    rest: list[pytest.Item] = []
    gone: list[pytest.Function] = []
    later: list[pytest.Item] = []
    for item in items:
        cls: Any = getattr(item, "cls", None)
        suites = _suites(cls) if cls is not None else []
        if not suites or not isinstance(item, pytest.Function):
            (later if tiers.leaves_out(item, suites) else rest).append(item)
            continue
        needed = getattr(item.function, "_needs_fixture", None)
        only = getattr(item.function, "_only_mode", None)
        if (needed and _defined(cls, needed) is _defined(suites[0], needed)) or only not in {None, *cls.modes}:
            gone.append(item)
        elif tiers.leaves_out(item, suites):
            later.append(item)
        else:
            rest.append(item)
        mode = item.callspec.params.get("mode", "") if hasattr(item, "callspec") else ""
        clauses = ",".join(_clauses(item))
        item.user_properties.append(("conformance", f"{cls.kind}/{_backend(cls)}/{mode}/{clauses}"))
    cells: dict[tuple[Any, Any], list[pytest.Item]] = {}
    for item in rest:
        if _place(item) is not None:
            cells.setdefault((getattr(item, "cls", None), item.user_properties[-1]), []).append(item)
    for item in gone:
        # Its clause is tested by others too: what does not apply is noted there.
        place, needed = item.user_properties[-1], getattr(item.function, "_needs_fixture", None)
        for other in cells.get((item.cls, place), ()) if needed else ():
            other.user_properties.append(("not applicable", needed))
    elsewhere: set[pytest.Item] = {item for item in rest if _is_lifecycle(item) and tiers.leaves_lifecycle(item)}
    elsewhere |= tiers.leaves_to_others(
        [item for item in rest if isinstance(item, pytest.Function) and _place(item) and not _is_about_clients(item)]
    )
    later += elsewhere
    rest = [item for item in rest if item not in elsewhere]
    tiers.note(config, len(later), len(gone))
    if gone or later:
        config.hook.pytest_deselected(items=[*gone, *later])
    items[:] = _lifecycle_first(rest)


def _lifecycle_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Move the tests of the lifecycle before the others of the same class: what fails there makes others fail."""
    places: dict[Any, list[int]] = {}
    for place, item in enumerate(items):
        if _place(item) is not None:
            places.setdefault((item.path, getattr(item, "cls", None)), []).append(place)
    ordered = list(items)
    for taken in places.values():
        found = sorted((items[place] for place in taken), key=lambda item: not _is_lifecycle(item))
        for place, item in zip(taken, found, strict=True):
            ordered[place] = item
    return ordered


def _place(item: pytest.Item) -> str | None:
    return next((str(value) for name, value in item.user_properties if name == "conformance"), None)


def _is_lifecycle(item: pytest.Item) -> bool:
    return (_place(item) or "").rpartition("/")[2].startswith("L")


def _is_about_clients(item: pytest.Item) -> bool:
    """Whether it is about how a client lives, which differs between the modes: it runs in both."""
    return _is_lifecycle(item) and not takes_turns(item)


def _defined(cls: type, name: str) -> Any:
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


def _clauses(item: pytest.Function) -> list[str]:
    named = _CLAUSE.match(item.originalname)
    found = [named[1].upper() if named[1] != "model" else "model"] if named else []
    for mark in item.iter_markers("clause"):
        found += [str(clause) for clause in mark.args if clause not in found]
    return found


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Remember which test runs: only assertions of the kit are explained by the kit."""
    item.config.stash[_RUNNING] = item
    try:
        return (yield)
    finally:
        item.config.stash[_RUNNING] = None


@pytest.hookimpl(tryfirst=True)
def pytest_assertrepr_compare(config: pytest.Config, op: str, left: Any, right: Any) -> list[str] | None:
    """Say what is missing, not expected, doubled, rather than print two lists."""
    item = config.stash.get(_RUNNING, None)
    if item is None or _place(item) is None:
        return None
    from praisonai_persistence.testing._compare import explain

    return explain(op, left, right)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """End each failure with the clauses that it is about."""
    report: Any = yield
    place = _place(item)
    if place is not None and report.failed:
        from praisonai_persistence.testing._explain import add_place, places, situation

        kind, _, _, clauses = place.split("/")
        told = situation(item, call.excinfo.value) if call.excinfo and isinstance(item, pytest.Function) else []
        module = item.function.__module__ if isinstance(item, pytest.Function) else ""
        add_place(report, [*told, *places(kind, clauses.split(","), module)])
    return report


# --------------------------------------------------------------------------------------------------------------- cells


def _backend(cls: Any) -> str:
    return str(cls.backend) or cls.__name__.removeprefix("Test").lower()


class Matrix:
    """Outcomes by kind, backend, mode and clause; a plugin of its own, in the process that prints the results."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cells: dict[tuple[str, str, str, str], dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a report, if it is one of a suite."""
        properties = [tuple(pair) for pair in report.user_properties]
        place = next((str(value) for name, value in reversed(properties) if name == "conformance"), None)
        if place is None or (report.when != "call" and report.outcome == "passed"):
            return
        kind, backend, mode, clauses = place.split("/")
        unsupported = [str(value) for name, value in properties if name == "unsupported"]
        inapplicable = [str(value) for name, value in properties if name == "not applicable"]
        for clause in clauses.split(",") if clauses else []:
            cell = self._cells.setdefault(
                (kind, backend, mode, clause),
                {"passed": 0, "failed": [], "skipped": [], "unsupported": [], "not applicable": []},
            )
            cell["not applicable"] = sorted({*cell["not applicable"], *inapplicable})
            if report.outcome == "failed" or hasattr(report, "wasxfail"):
                cell["failed"].append(report.nodeid)
            elif report.outcome == "skipped":
                cell["skipped"].append(report.nodeid)
            elif unsupported:
                cell["unsupported"] = sorted({*cell["unsupported"], *unsupported})
            else:
                cell["passed"] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return kind -> backend -> mode -> clause -> cell."""
        from praisonai_persistence.testing.clauses import CLAUSES, MODEL

        tree: dict[str, Any] = {}
        for kind, backend, mode, _ in sorted(self._cells, key=lambda key: (*key[:2], key[2] != "sync")):
            cells = tree.setdefault(kind, {}).setdefault(backend, {}).setdefault(mode, {})
            for clause in (*CLAUSES.get(kind, {}), *CLAUSES["lifecycle"], MODEL):
                cells[clause] = _cell(self._cells.get((kind, backend, mode, clause)))
        return tree

    def pytest_sessionfinish(self) -> None:
        """Write both files."""
        self._folder.mkdir(parents=True, exist_ok=True)
        tree = self.to_dict()
        (self._folder / "matrix.json").write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
        (self._folder / "matrix.md").write_text("\n".join(_markdown(tree)) + "\n", encoding="utf-8")


def _cell(found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {"outcome": "not run"}
    if found["failed"]:
        return {"outcome": "fails", "failed": sorted(found["failed"])}
    if found["skipped"]:
        return {"outcome": "not run", "skipped": sorted(found["skipped"])}
    notes = {name: found[name] for name in ("unsupported", "not applicable") if found[name]}
    return {"outcome": "holds" if found["passed"] else "unsupported", **notes}


def _markdown(tree: dict[str, Any]) -> Iterator[str]:
    from praisonai_persistence.testing.clauses import CLAUSES, MODEL, MODEL_TITLE

    yield "# Conformance"
    for kind, backends in tree.items():
        yield ""
        yield f"## {kind.capitalize()} stores"
        yield ""
        yield f"| clause | | {' | '.join(backends)} |"
        yield f"|---|---|{'---|' * len(backends)}"
        for clause, title in {**CLAUSES.get(kind, {}), **CLAUSES["lifecycle"], MODEL: MODEL_TITLE}.items():
            words = [_words({mode: cells[clause] for mode, cells in modes.items()}) for modes in backends.values()]
            yield f"| {clause} | {title} | {' | '.join(words)} |"


def _words(cells: dict[str, dict[str, Any]]) -> str:
    texts = {mode: _word(cell) for mode, cell in cells.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{mode} {text}" for mode, text in texts.items())


def _word(cell: dict[str, Any]) -> str:
    if cell["outcome"] == "fails":
        return "**fails**"
    without = f" (without: {', '.join(cell['unsupported'])})" if cell.get("unsupported") else ""
    return f"{cell['outcome']}{without}"
