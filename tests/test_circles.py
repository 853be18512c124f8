"""No circle of imports: neither of files nor of folders, those of TYPE_CHECKING and inside functions included."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import snn_codec

ROOT = Path(__file__).parent.parent
PLACES = {"snn_codec": ROOT / "snn_codec"} | {
    f"snn_codec.{name}": ROOT / folder for name, folder in snn_codec.MAPPED.items()
}


def modules(places):
    """Files by module name; a package's own file has the name `package.__init__`."""
    return {
        ".".join([package, *file.relative_to(folder).with_suffix("").parts]): file
        for package, folder in places.items()
        for file in sorted(folder.rglob("*.py"))
    }


def imported(name, source, known):
    """The modules among `known` that a module's source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: -node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            wanted = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for each in wanted:
            candidates = (
                each,
                f"{each}.__init__",
                each.rpartition(".")[0],
                f"{each.rpartition('.')[0]}.__init__",
            )
            found |= set([candidate for candidate in candidates if candidate in known][:1])
    return found - {name}


def circle(sources):
    """The first circle among the entries (files and folders) of any folder, or None; `sources` by module name."""
    levels = defaultdict(lambda: defaultdict(set))
    for name, source in sources.items():
        own = name.split(".")
        for other in imported(name, source, sources):
            parts = other.split(".")
            same = next(i for i, (a, b) in enumerate(zip(own, parts, strict=False)) if a != b)
            levels[".".join(own[:same])][own[same]].add(parts[same])
    for folder, graph in sorted(levels.items()):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            return f"{folder}: {' <- '.join(error.args[1])}"
    return None


def test_nothing_imports_in_a_circle():
    sources = {name: file.read_text(encoding="utf-8") for name, file in modules(PLACES).items()}
    assert len(sources) > 50
    assert circle(sources) is None


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"p.a": "import p.b", "p.b": "from p import c", "p.c": ""}, None),
        ({"p.a": "import p.b", "p.b": "from p import a"}, "p: "),
        ({"p.a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b import X",
          "p.b": "def f():\n    from p import a"}, "p: "),
        # no circle of files, but one of folders
        ({"p.a.x": "import p.b.y", "p.b.y": "", "p.b.z": "from p.a.w import W", "p.a.w": ""}, "p: "),
        ({"p.a.x": "from . import y", "p.a.y": "from .x import X"}, "p.a: "),
        ({"p.a.__init__": "", "p.a.x": "from p.a import y", "p.a.y": ""}, None),
        ({"p.a.__init__": "from p.a.x import X", "p.a.x": "from p.a import Y"}, "p.a: "),
    ],
)  # fmt: skip
def test_circles_are_found(sources, found):
    seen = circle(sources)
    assert seen is None if found is None else seen.startswith(found)
