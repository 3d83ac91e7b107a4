"""Asking before something is changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._output import plain

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["confirm", "yes_option"]


def yes_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--yes``."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def confirm(question: str, yes: bool, *, refusal: str, otherwise: str = "nothing was changed") -> None:
    """Go on only if somebody agrees.

    Args:
        question: what they are asked.
        yes: whether they have agreed already.
        refusal: the error where nobody can be asked; says what would happen, and how to agree.
        otherwise: what is said when they do not agree.

    Raises:
        click.UsageError: standard input is no terminal.
        Failed: they do not agree.
    """
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise click.UsageError(refusal)
    if not click.confirm(plain(question), err=True):
        complain(otherwise)
        raise Failed
