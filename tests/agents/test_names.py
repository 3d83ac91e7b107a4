"""The tables of PraisonAI's names are those of its own package, which is read here and not imported."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from praisonai_persistence._praisonai import ATTRIBUTES, BACKENDS

PRAISONAI = os.environ.get("PERSISTENCE_PRAISONAI", "")

pytestmark = pytest.mark.skipif(
    not PRAISONAI, reason="PERSISTENCE_PRAISONAI names no folder with PraisonAI's package; './dev agents' makes one"
)


def classes(folder: Path) -> dict[str, ast.ClassDef]:
    """Every class of the modules in a folder."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.py")))
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def is_property(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list
    )


def attributes(name: str, found: dict[str, ast.ClassDef]) -> set[str]:
    """What objects of a class have that is no method: its own, and that of its bases."""
    if name not in found:
        return set()
    node, names = found[name], set()
    for child in ast.walk(node):
        targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", None)]
        for one in targets:
            if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "self":
                names.add(one.attr)
    for child in node.body:
        if isinstance(child, ast.Assign):
            names |= {one.id for one in child.targets if isinstance(one, ast.Name)}
        elif is_property(child):
            names.add(child.name)
    for base in node.bases:
        names |= attributes(ast.unparse(base), found)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_public_attribute_of_a_store_is_in_the_table(kind):
    found = classes(Path(PRAISONAI) / "praisonai" / "persistence" / kind)
    for row in BACKENDS[kind]:
        ours = {pair.partition("=")[0] for pair in ATTRIBUTES.get(row.store, "").split()}
        assert ours == attributes(row.store, found), row.store
