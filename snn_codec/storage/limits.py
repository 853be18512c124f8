"""What a file may ask a reader to allocate, so that an absurd header costs no memory.

Silence is cheap to store, so a recording may need many times the bytes of its file.
"""

from __future__ import annotations

from snn_codec.cells import sparse_bytes
from snn_codec.errors import UserError

MAX_CHUNK_CELLS = 2**24
MAX_CHUNK_STEPS = 2**16
MIN_BYTES, BYTES_PER_BYTE = 2**26, 2**16


def check_chunk(name: object, units: int, chunk_steps: int) -> None:
    """One chunk of a recording must be something that a reader can hold.

    Raises:
        UserError: It is not; `name` says of which file.
    """
    if chunk_steps > MAX_CHUNK_STEPS or units * chunk_steps > MAX_CHUNK_CELLS:
        raise UserError(
            f"{name}: chunks of {units} units x {chunk_steps} steps are too large; "
            f"the limits are {MAX_CHUNK_STEPS} steps and {MAX_CHUNK_CELLS} cells"
        )


def memory_of(units: int, steps: int, n_events: int) -> int:
    """Bytes of memory that so many events take, dense or as a list (`snn_codec.cells`), whichever is less."""
    return min(units * steps, sparse_bytes(units, steps, n_events))


def check_memory(name: object, n_bytes: int, size: int) -> None:
    """A recording that takes `n_bytes` of memory must be plausible in a file of `size` bytes.

    Raises:
        UserError: It is not.
    """
    if n_bytes > MIN_BYTES + BYTES_PER_BYTE * size:
        raise UserError(
            f"{name}: events of {n_bytes} bytes in {size} bytes are not plausible; the file may be damaged"
        )
