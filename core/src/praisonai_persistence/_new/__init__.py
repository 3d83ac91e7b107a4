"""``python -m praisonai_persistence new``: a backend that registers itself and passes the kit, on a stand-in."""

from __future__ import annotations

from praisonai_persistence._new.command import main
from praisonai_persistence._new.planning import Plan, RefusedError, plan
from praisonai_persistence._new.texts import files
from praisonai_persistence._new.writing import create

__all__ = ["Plan", "RefusedError", "create", "files", "main", "plan"]
