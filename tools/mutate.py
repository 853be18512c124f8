"""Change one operator or constant at a time and see whether the module's own tests notice.

    python tools/mutate.py snn_codec/costs.py snn_codec/levels.py [--count 20] [--seed 0] [--tests tests/test_x.py ...]

Works on a copy of the tree in a temporary folder. A module's tests are tests/test_NAME.py unless --tests names others.
Prints the changes that no test noticed, and how many were noticed. The same seed makes the same changes.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    ".git",
    ".venv*",
    ".cache",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "*.egg-info",
    "out",
    "runs",
    "build",
)

SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutation(NamedTuple):
    """A changed module: which, where, what the line's expression was and is, and the whole new source."""

    module: Path
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.before}  ->  {self.after}"


def sites(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that can be changed; not those of annotations, decorators, messages and docstrings."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list") or isinstance(
            tree, (ast.JoinedStr, ast.Raise)
        ):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                if _changes(node):
                    yield node
                yield from sites(node)


def _changes(node: ast.AST) -> list[Callable[[ast.AST], ast.AST]]:
    """Functions that make this node another one, in place, and give it back."""

    def set_operator(kind: type, place: int | None = None) -> Callable[[ast.AST], ast.AST]:
        def change(node: ast.AST) -> ast.AST:
            if place is None:
                node.op = kind()  # type: ignore[attr-defined]
            else:
                node.ops[place] = kind()  # type: ignore[attr-defined]
            return node

        return change

    def set_value(value: object) -> Callable[[ast.AST], ast.AST]:
        def change(node: ast.AST) -> ast.AST:
            node.value = value  # type: ignore[attr-defined]
            return node

        return change

    if isinstance(node, ast.Compare):
        return [set_operator(SWAPS[type(op)], i) for i, op in enumerate(node.ops)]
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
        return [set_operator(SWAPS[type(node.op)])]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [set_value(not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return [set_value(node.value + 1)]
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        return [set_value(1.5 * node.value if node.value else 1.0)]
    return []


def mutations(module: Path, source: str) -> list[Mutation]:
    """All changes of one operator or constant of a module."""
    found = []
    for number, node in enumerate(sites(ast.parse(source))):
        for which in range(len(_changes(node))):
            tree = ast.parse(source)
            target = next(site for place, site in enumerate(sites(tree)) if place == number)
            before = copy.deepcopy(target)
            _changes(target)[which](target)
            found.append(
                Mutation(
                    module,
                    getattr(target, "lineno", 0),
                    ast.unparse(before),
                    ast.unparse(target),
                    ast.unparse(tree),
                )
            )
    return found


def noticed(tree: Path, tests: Sequence[str], timeout: float | None) -> bool:
    """Whether the tests fail in this copy of the tree; so long that they hang counts as well."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_DATABASE_FILE": os.devnull}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    try:
        found = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return True
    return found.returncode != 0


def run(root: Path, modules: Sequence[Path], tests: Sequence[str], count: int, seed: int) -> int:
    """Print what survives of `count` changes of these modules; the exit status is 1 if something does."""
    candidates = [
        each for module in modules for each in mutations(module, (root / module).read_text("utf-8"))
    ]
    chosen = random.Random(seed).sample(candidates, min(count, len(candidates)))
    chosen.sort(key=lambda mutation: (mutation.module, mutation.line))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        limits, survivors = {}, []
        for mutation in chosen:
            own = list(tests) or [f"tests/test_{mutation.module.stem}.py"]
            if mutation.module not in limits:
                began = time.monotonic()
                if noticed(tree, own, None):
                    print(f"{mutation.module}: {' '.join(own)} fail as it is", file=sys.stderr)
                    return 2
                limits[mutation.module] = 30 + 10 * (time.monotonic() - began)
            original = (tree / mutation.module).read_bytes()
            (tree / mutation.module).write_text(mutation.source, "utf-8")
            if not noticed(tree, own, limits[mutation.module]):
                survivors.append(mutation)
                print(mutation, flush=True)
            (tree / mutation.module).write_bytes(original)
    print(f"noticed: {len(chosen) - len(survivors)} of {len(chosen)} (of {len(candidates)} possible changes)")
    return 1 if survivors else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="+", type=Path, help="files, relative to the repository")
    parser.add_argument(
        "--tests", nargs="+", default=[], help="test files or ids (tests/test_NAME.py of each module)"
    )
    parser.add_argument("--count", type=int, default=20, help="changes tried (20)")
    parser.add_argument("--seed", type=int, default=0, help="chooses them (0)")
    options = parser.parse_args(arguments)
    return run(ROOT, options.modules, options.tests, options.count, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
