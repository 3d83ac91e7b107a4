"""The suite of conversation stores: the clauses C01 to C28; see ``harness`` for how to use it."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.testing._conversation_model import run_conversation_model
from praisonai_persistence.testing._subclasses import ConversationSubclasses
from praisonai_persistence.testing.conversation._crashes import Crashes
from praisonai_persistence.testing.conversation._messages import Messages
from praisonai_persistence.testing.conversation._optional import Optional
from praisonai_persistence.testing.conversation._reading import Reading
from praisonai_persistence.testing.conversation._rewrites import Rewrites
from praisonai_persistence.testing.conversation._sessions import Sessions
from praisonai_persistence.testing.conversation._together import Together
from praisonai_persistence.testing.conversation._values import Values
from praisonai_persistence.testing.harness import full_only
from praisonai_persistence.testing.lifecycle import LifecycleSuite
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["ConversationStoreSuite"]


class ConversationStoreSuite(
    Sessions,
    Messages,
    Reading,
    Values,
    Together,
    Crashes,
    Optional,
    Rewrites,
    ConversationSubclasses,
    LifecycleSuite,
    suite=True,
):
    """What every conversation store promises."""

    kind = "conversation"
    model_examples: ClassVar[int] = 30
    """How many random walks the model test takes on each mode."""
    model_steps: ClassVar[int] = 40
    """How many operations a walk has at most."""

    @full_only
    def test_model_agrees_with_the_reference(self, spec: StoreSpec, mode: str) -> None:
        run_conversation_model(spec, mode, examples=self.model_examples, steps=self.model_steps)
