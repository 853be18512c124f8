import pytest

from snn_codec.errors import UserError
from snn_codec.storage.limits import check_chunk, check_memory, memory_of


@pytest.mark.parametrize("units, steps", [(2**8, 2**16), (2**24, 1), (38_400, 64), (80, 256)])
def test_a_chunk_may_be_as_large_as_the_limits(units, steps):
    check_chunk("a.spk", units, steps)


@pytest.mark.parametrize("units, steps", [(1, 2**16 + 1), (2**24 + 1, 1), (2**8 + 1, 2**16)])
def test_a_larger_chunk_is_refused_with_the_limits(units, steps):
    with pytest.raises(
        UserError, match=f"a.spk: chunks of {units} units x {steps} .* 65536 steps and 16777216"
    ):
        check_chunk("a.spk", units, steps)


def test_memory_is_that_of_the_smaller_form():
    assert memory_of(80, 256, 20_000) == 80 * 256  # dense
    assert memory_of(38_400, 64, 100) == 8 * 65 + 2 * 100  # a list: a pointer a step, two bytes an event
    assert memory_of(2**16 + 1, 64, 100) == 8 * 65 + 4 * 100


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_so_many_bytes_of_memory_are_believed_for_a_byte_of_file(size):
    most = 2**26 + 2**16 * size
    check_memory("a.spk", most, size)
    with pytest.raises(
        UserError, match=f"a.spk: events of {most + 1} bytes in {size} bytes are not plausible"
    ):
        check_memory("a.spk", most + 1, size)
