"""What a file may ask a reader to allocate, so that an absurd header costs no memory.

Silence is cheap to store, so the cells of a recording (one byte each) may be many times the bytes of its file.
"""

from __future__ import annotations

from snn_codec.errors import UserError

MAX_CHUNK_CELLS = 2**24
MAX_CHUNK_STEPS = 2**16
MIN_CELLS, CELLS_PER_BYTE = 2**26, 2**16


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


def check_cells(name: object, cells: int, size: int) -> None:
    """A recording of `cells` cells must be plausible in a file of `size` bytes.

    Raises:
        UserError: It is not.
    """
    if cells > MIN_CELLS + CELLS_PER_BYTE * size:
        raise UserError(f"{name}: {cells} cells in {size} bytes are not plausible; the file may be damaged")
