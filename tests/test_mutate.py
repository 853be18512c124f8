import ast
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

sys.path.append(str(Path(__file__).parent.parent / "tools"))
import mutate  # noqa: E402

MODULE = '''
"""A docstring with 1 + 1."""
LIMIT: "1 + 1" = 3

@decorated(2)
def f(x, y=True):
    if x < LIMIT and y:
        raise ValueError(f"{x + 1} is too small")
    return x << 1, -x * 0.0
'''


def all_of(source):
    return [mutate.mutation(Path("m.py"), source, *place) for place in mutate.places(source)]


def test_each_operator_and_constant_is_changed_once():
    found = [(m.line, m.before, m.after) for m in all_of(MODULE)]
    assert found == [
        (3, "3", "4"), (6, "True", "False"), (7, "x < LIMIT and y", "x < LIMIT or y"),
        (7, "x < LIMIT", "x <= LIMIT"), (9, "x << 1", "x >> 1"), (9, "1", "2"), (9, "-x * 0.0", "-x / 0.0"),
        (9, "0.0", "1.0"),
    ]  # fmt: skip
    for mutation in all_of(MODULE):
        changed, original = (ast.unparse(ast.parse(text)).split("\n") for text in (mutation.source, MODULE))
        assert sum(a != b for a, b in zip(changed, original, strict=True)) == 1


def test_each_comparison_of_a_chain_is_one_change():
    found = {m.after for m in all_of("a < b <= c != d")}
    assert found == {"a <= b <= c != d", "a < b < c != d", "a < b <= c == d"}


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "double.py").write_text("def double(x):\n    return x * 2 if x > 0 else 0\n")
    (tmp_path / "tests" / "test_double.py").write_text(
        "from double import double\n\ndef test_it():\n    assert double(3) == 6 and double(-1) == 0\n"
    )
    return tmp_path


def test_survivors_are_printed_and_the_tree_is_as_it_was(tree, capsys):
    before = (tree / "double.py").read_bytes()
    assert mutate.run(tree, [Path("double.py")], [], 99, 0) == 1
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "double.py:2: x > 0  ->  x >= 0",
        "double.py:2: 0  ->  1",
        "noticed: 3 of 5 (of 5 possible changes)",
    ]
    assert (tree / "double.py").read_bytes() == before


def test_tests_that_fail_as_it_is_say_nothing(tree, capsys):
    (tree / "tests" / "test_double.py").write_text("def test_it():\n    assert False\n")
    assert mutate.run(tree, [Path("double.py")], [], 1, 0) == 2
    assert "double.py: tests/test_double.py fail as it is" in capsys.readouterr().err


def test_the_same_seed_makes_the_same_changes(tree, capsys, monkeypatch):
    survive = iter([False] * 9)  # as if the tests noticed nothing
    monkeypatch.setattr(mutate, "noticed", lambda *_: next(survive))
    found = []
    for seed in (1, 1, 3):
        assert mutate.run(tree, [Path("double.py")], [], 2, seed) == 1
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] != found[2]
