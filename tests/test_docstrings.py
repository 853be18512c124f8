"""The examples in docstrings are right, and what the package offers has docstrings."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import snn_codec

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(
    file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for file in (ROOT / "snn_codec").rglob("*.py")
    if any(">>> " in line and "+SKIP" not in line for line in file.read_text(encoding="utf-8").splitlines())
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_what_it_says(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 and result.failed == 0


def test_the_examples_are_found():
    assert {"snn_codec.events", "snn_codec.storage.entropy", "snn_codec.storage.formats"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", snn_codec.__all__)
def test_public_names_say_what_they_raise_and_show_an_example(name):
    text = inspect.getdoc(getattr(snn_codec, name))
    if name != "UserError":
        assert "Raises:" in text
    assert ">>> " in text


def test_public_functions_and_classes_have_docstrings():
    bare = []
    for file in sorted((ROOT / "snn_codec").rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
            if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node):
                bare.append(f"{file.relative_to(ROOT)}: {node.name}")
    assert bare == []
