"""What can be wrong with a file, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from snn_codec.errors import UserError

# What h5py and numpy raise on a file whose seal is right and whose content is not.
_H5PY_ERRORS = (
    OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
)  # fmt: skip


class Damaged(Exception):
    """Raised for a file of this package that is damaged."""


class Foreign(Exception):
    """Raised for a file of another program or of another version."""


@contextmanager
def damage(path: object, what: str = "") -> Iterator[None]:
    """Turn errors of h5py, numpy and our checks on a damaged file into a `UserError` of one sentence."""
    where = f"{path}: {what}: " if what else f"{path}: "
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; give a file name") from error
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except Foreign as error:
        raise UserError(f"{path}: {error}; give an .h5 file of spike trains") from error
    except Damaged as error:
        raise UserError(f"{where}{error}; the file is damaged") from error
    except _H5PY_ERRORS as error:
        reason = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where}not readable as HDF5 spike trains, or damaged ({reason})") from error
