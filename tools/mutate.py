"""Change one operator or constant at a time and see whether the module's own tests notice.

    python tools/mutate.py [snn_codec/costs.py hardware/fold.py] [--count 20] [--seed 0] [--tests tests/test_x.py ...]

Works on a copy of the tree in a temporary folder, on Linux or macOS. A module's tests are tests/test_NAME.py, or those
of TESTS below, unless --tests names others. Prints the changes that no test noticed, and how many were noticed. The
same seed makes the same changes.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# Each test run is a fork of a process that has imported these: they take longer than the tests of a module.
_BEGUN = multiprocessing.get_context("forkserver")
_BEGUN.set_forkserver_preload(
    ["hypothesis", "numpy", "pytest", "scipy.signal", "scipy.stats", "soundfile", "soxr", "torch"]
)
LEFT_OUT = (
    ".git", ".venv*", ".cache", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "out", "runs", "build"
)  # fmt: skip
# Whose tests have another name, and the modules that are changed if none is named.
TESTS = {
    "snn_codec/audio.py": ["tests/test_audio.py", "tests/test_other_peoples_files.py"],
    "snn_codec/midi.py": ["tests/test_midi.py", "tests/test_other_peoples_midi.py"],
    "snn_codec/analysis/notes.py": ["tests/test_analysis_notes.py"],
    "snn_codec/listening/statistics.py": ["tests/test_listening_analysis.py"],
    "snn_codec/storage/entropy_model/base.py": ["tests/test_entropy_model.py"],
}
NAMED_ALIKE = ("costs", "events", "levels", "loudness")
MODULES = [*(f"snn_codec/{name}.py" for name in NAMED_ALIKE), "hardware/quantise.py", *TESTS]

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


def places(source: str) -> list[tuple[int, int]]:
    """All changes of one operator or constant: the number of the site, and which of its changes."""
    found = enumerate(sites(ast.parse(source)))
    return [(number, which) for number, node in found for which in range(len(_changes(node)))]


def mutation(module: Path, source: str, number: int, which: int) -> Mutation:
    """One of `places`, carried out."""
    tree = ast.parse(source)
    target = next(site for place, site in enumerate(sites(tree)) if place == number)
    before = ast.unparse(target)
    _changes(target)[which](target)
    return Mutation(module, getattr(target, "lineno", 0), before, ast.unparse(target), ast.unparse(tree))


def noticed(tree: Path, tests: Sequence[str], timeout: float | None) -> bool:
    """Whether the tests fail in this copy of the tree; so long that they hang counts as well."""
    process = _BEGUN.Process(target=_tested, args=(tree, list(tests)))
    process.start()
    try:
        process.join(timeout)
    finally:
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)  # it leads a group
            process.join()
    return process.exitcode != 0


def _tested(tree: Path, tests: list[str]) -> None:
    """Ends a process that has only imported other people's packages, with the exit status of the tests."""
    os.setsid()
    with open(os.devnull, "r+") as nothing:
        for number in range(3):
            os.dup2(nothing.fileno(), number)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tree)}  # for what the tests start
    sys.dont_write_bytecode = True
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    import pytest

    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])
    os._exit(int(status))


def run(root: Path, modules: Sequence[Path], tests: Sequence[str], count: int, seed: int) -> int:
    """Print what survives of `count` changes of each of these modules; the exit status is 1 if something does."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tried = survivors = possible = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        compileall.compile_dir(tree, quiet=2)
        for module in modules:
            own = list(tests) or TESTS.get(str(module), [f"tests/test_{module.stem}.py"])
            began = time.monotonic()
            if noticed(tree, own, None):
                print(f"{module}: {' '.join(own)} fail as it is", file=sys.stderr)
                return 2
            limit = 30 + 10 * (time.monotonic() - began)
            source = (root / module).read_text("utf-8")
            candidates = places(source)
            chosen = random.Random(seed).sample(candidates, min(count, len(candidates)))
            possible, tried = possible + len(candidates), tried + len(chosen)
            for place in sorted(chosen):
                change = mutation(module, source, *place)
                Path(cache_from_source(str(tree / module))).unlink(missing_ok=True)
                (tree / module).write_text(change.source, "utf-8")
                if not noticed(tree, own, limit):
                    survivors += 1
                    print(change, flush=True)
            shutil.copy2(root / module, tree / module)
    print(f"noticed: {tried - survivors} of {tried} (of {possible} possible changes)")
    return 1 if survivors else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "modules", nargs="*", default=MODULES, help="files, relative to the repository (ten of them)"
    )
    parser.add_argument(
        "--tests", nargs="+", default=[], help="test files or ids (tests/test_NAME.py of each module)"
    )
    parser.add_argument("--count", type=int, default=20, help="changes tried of each module (20)")
    parser.add_argument("--seed", type=int, default=0, help="chooses them (0)")
    options = parser.parse_args(arguments)
    return run(ROOT, list(map(Path, options.modules)), options.tests, options.count, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
