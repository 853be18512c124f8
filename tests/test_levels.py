import numpy as np
import pytest

from snn_codec.errors import UserError
from snn_codec.levels import LEVEL_PARTS, MAX_LEVELS, UNREACHED, Prompts, numbers, valid


def test_a_level_is_for_all_chunks():
    assert Prompts(32, 12.5).codes(3).tolist() == [100, 100, 100]
    assert Prompts(32, 31).codes(1).tolist() == [248]
    assert Prompts(32, 0).codes(1).tolist() == [0]
    assert Prompts(32, None).codes(2).tolist() == [64, 64]
    assert Prompts(0, None).codes(4).shape == (0,)


def test_codes_are_for_each_chunk():
    given = np.array([8, UNREACHED, 248], np.uint8)
    assert Prompts(32, given).codes(3).tolist() == given.tolist()
    assert numbers(given).tolist() == [1.0, 0.0, 31.0]


@pytest.mark.parametrize(
    ("levels", "level"),
    [(32, -0.1), (32, 31.1), (32, float("nan")), (0, 3.0), (16, np.array([124], np.uint8)),
     (16, np.zeros(0, np.uint8)), (16, np.array([3.0])), (16, np.zeros((1, 2), np.uint8)), (16, "few"), (16, [1, 2])],
)  # fmt: skip
def test_levels_that_a_model_does_not_have_are_errors(levels, level):
    with pytest.raises(UserError, match="level"):
        Prompts(levels, level)


def test_the_most_levels_leave_a_byte_for_the_one_that_is_not_reached():
    highest = (MAX_LEVELS - 1) * LEVEL_PARTS
    assert highest < UNREACHED <= highest + LEVEL_PARTS
    assert valid(np.array([highest], np.uint8), MAX_LEVELS)


def test_valid_codes():
    assert valid(np.array([0, 120, UNREACHED], np.uint8), 16)
    assert not valid(np.array([121], np.uint8), 16)
