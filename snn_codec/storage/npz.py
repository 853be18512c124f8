"""Archives of arrays, byte for byte as `numpy.savez_compressed` writes them, of which no array has to be held whole."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


class Parts(NamedTuple):
    """An array that comes in parts, which follow each other on its first axis."""

    shape: tuple[int, ...]
    dtype: DTypeLike
    parts: Iterable[np.ndarray]


def write(path: str | os.PathLike, arrays: Mapping[str, ArrayLike | Parts]) -> None:
    """Write arrays to a file, replacing it.

    Raises:
        OSError: The file cannot be written.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if not isinstance(array, Parts):
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
                    continue
                kind = np.lib.format.dtype_to_descr(np.dtype(array.dtype))
                header = {"descr": kind, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(file, header)
                for part in array.parts:
                    file.write(np.ascontiguousarray(part, array.dtype).data)
