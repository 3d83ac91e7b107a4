"""The command line of ``python -m praisonai_persistence new``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from praisonai_persistence._new.planning import BASES, KINDS, RefusedError, clone_around, plan
from praisonai_persistence._new.writing import create

if TYPE_CHECKING:
    from praisonai_persistence._new.planning import Plan

__all__ = ["main"]

_ABOUT = """\
Writes a backend: a distribution that installs, registers, and passes the conformance kit on a stand-in in memory. What
is to be replaced by the engine is marked as THE STAND-IN.

bases, by what the engine has:
  entries    ordered entries under keys, and transactions (LMDB, RocksDB, FoundationDB): any kind
  document   documents under keys, written by compare-and-set (DynamoDB, Firestore, GCS): conversation, state
  vector     vectors, ranked and filtered (Milvus, Weaviate, DuckDB): knowledge
  sql        tables (MS SQL Server, Oracle): conversation, state; needs praisonai-persistence-sql

docs/which_base.md says what each of them asks of you, and what it costs at run time.
"""


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and write the backend; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m praisonai_persistence new",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="of the backend: lower case letters, digits, underscores")
    parser.add_argument("--kinds", required=True, help=f"some of {','.join(KINDS)}")
    parser.add_argument("--base", default="entries", help=f"one of {', '.join(BASES)} (see above); default: entries")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--embedded", action="store_true", help="the engine works in a folder or file (the default)")
    place.add_argument("--server", action="store_true", help="the engine is a server, with a host and a port")
    parser.add_argument("--async", dest="native", action="store_true", help="the server's client has an async sister")
    parser.add_argument("--title", default="", help="as it is written in prose and names of classes, e.g. MyDB")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="where to make the project; default: here")
    parser.add_argument("--dist", default="", help="what the distribution is called, e.g. mycompany-mydb")
    given = parser.parse_args(arguments)
    clone = clone_around(Path.cwd())
    try:
        made = plan(
            given.name,
            [kind.strip() for kind in given.kinds.split(",")],
            base=given.base,
            server=given.server,
            title=given.title,
            native=given.native,
            into=given.into,
            dist=given.dist,
            clone=clone,
        )
    except RefusedError as refusal:
        parser.error(str(refusal))
    create(made)
    lines = [f"written: {path}" for path in filter(None, (made.folder, made.integration))]
    sys.stdout.write("\n".join([*lines, "", "Next:", *_next_steps(made), ""]))
    return 0


def _next_steps(made: Plan) -> list[str]:
    """Say what is left to do by hand, in the order to do it."""
    engine = f"{made.folder / 'src' / made.package}: put the engine in the place of THE STAND-IN; delete _standin.py"
    if made.clone is None:
        return [
            f"cd {made.folder}",
            "pip install -e '.[testing]'",
            "pytest --conformance-tier=quick",
            engine,
            "pytest",
            "choose a licence",
        ]
    return ["python tools/derived.py --write", f"./dev lint types 'integration({made.name})'", engine]
