"""The suite of state stores: the clauses S01 to S12; see ``harness`` for how to use it."""

from __future__ import annotations

from praisonai_persistence.testing._subclasses import StateSubclasses
from praisonai_persistence.testing.lifecycle import LifecycleSuite
from praisonai_persistence.testing.state._atomic import Atomic
from praisonai_persistence.testing.state._finding import Finding
from praisonai_persistence.testing.state._hashes import Hashes
from praisonai_persistence.testing.state._keys import Keys
from praisonai_persistence.testing.state._model import Model
from praisonai_persistence.testing.state._sharing import Sharing
from praisonai_persistence.testing.state._times import Times
from praisonai_persistence.testing.state._values import Values

__all__ = ["StateStoreSuite"]


class StateStoreSuite(
    Values, Times, Finding, Hashes, Atomic, Keys, Sharing, Model, StateSubclasses, LifecycleSuite, suite=True
):
    """What a state store promises; see ``harness`` for how to use it."""

    kind = "state"
