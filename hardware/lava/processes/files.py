"""Rows of numbers from an open file, and spikes to one: a recording of any length in bounded memory.

Both take a file descriptor, which the processes that Lava forks inherit: the file needs no name, so that nothing
stays on disk however a simulation ends. A sink gives all spikes at once, which Lava's
`RingBuffer.data.get()` sends element by element.
"""

import os

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class FileSource(AbstractProcess):
    """Sends row `first` + t of a file at step t, from step 0, and zeros after the last row.

    Args:
        descriptor: Of a file of rows, one after the other.
        dtype: Of the numbers in a row; "bits" for packed spikes (`np.packbits`).
        width: Numbers in a row.
        first, rows: Which rows.
        zeros: How many zeros to send behind the numbers of each row.
        origin: What to call it in messages.
    """

    def __init__(self, *, descriptor, dtype, width, rows, first=0, zeros=0, origin="the source", **settings):
        super().__init__(
            descriptor=descriptor, dtype=dtype, width=width, rows=rows, first=first, zeros=zeros, origin=origin,
            **settings,
        )  # fmt: skip
        self.s_out = OutPort(shape=(width + zeros,))

    @property
    def arithmetic(self):
        """ "fixed_pt" for integers, "floating_pt" for floats, None for spikes, which go everywhere."""
        dtype = self.proc_params["dtype"]
        if dtype == "bits":
            return None
        return "floating_pt" if np.dtype(dtype).kind == "f" else "fixed_pt"


class _FileSource(PyLoihiProcessModel):
    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.width, self.zeros = proc_params["width"], proc_params["zeros"]
        self.packed = proc_params["dtype"] == "bits"
        self.dtype = np.dtype(np.uint8 if self.packed else proc_params["dtype"])
        self.row_bytes = -(-self.width // 8) if self.packed else self.width * self.dtype.itemsize

    def run_spk(self):
        step = self.time_step - 1
        if step >= self.proc_params["rows"]:
            self.s_out.send(np.zeros(self.width + self.zeros, self.dtype))
            return
        place = (self.proc_params["first"] + step) * self.row_bytes
        row = np.frombuffer(os.pread(self.proc_params["descriptor"], self.row_bytes, place), self.dtype)
        row = np.unpackbits(row, count=self.width) if self.packed else row
        self.s_out.send(np.pad(row, (0, self.zeros)))


@implements(proc=FileSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerFileSource(_FileSource):
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)


@implements(proc=FileSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class FloatFileSource(_FileSource):
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)


class FileSink(AbstractProcess):
    """Appends the spikes of each step to a file, as one row of packed bits (`np.packbits`)."""

    def __init__(self, *, descriptor, width, **settings):
        super().__init__(descriptor=descriptor, **settings)
        self.s_in = InPort(shape=(width,))


class _FileSink(PyLoihiProcessModel):
    def run_spk(self):
        os.write(self.proc_params["descriptor"], np.packbits(self.s_in.recv() != 0).tobytes())


@implements(proc=FileSink, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerFileSink(_FileSink):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)


@implements(proc=FileSink, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class FloatFileSink(_FileSink):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
