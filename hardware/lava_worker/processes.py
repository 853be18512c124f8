"""Lava processes that Lava does not have: spikes from and to files, and leaky neurons with other resets.

A file source keeps memory bounded, and a file sink gives all spikes at once, which `RingBuffer.data.get()`
does element by element. Lava imports all modules of this folder when it looks for process models.
"""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class FileSource(AbstractProcess):
    """Sends row t of an array `[steps, width]` in the file `path` (.npy) at step t, and zeros after the last."""

    def __init__(self, path, width):
        super().__init__(path=path)
        self.s_out = OutPort(shape=(width,))


class _FileSource(PyLoihiProcessModel):
    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.rows = np.load(proc_params["path"], mmap_mode="r")

    def run_spk(self):
        row = self.time_step - 1
        self.s_out.send(self.rows[row] if row < len(self.rows) else np.zeros_like(self.rows[0]))


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
    """Appends the spikes of each step to the file `path`, one byte a neuron."""

    def __init__(self, path, width):
        super().__init__(path=path)
        self.s_in = InPort(shape=(width,))


class _FileSink(PyLoihiProcessModel):
    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.file = open(proc_params["path"], "ab", buffering=0)

    def run_spk(self):
        self.file.write((self.s_in.recv() != 0).astype(np.uint8).tobytes())


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


class LeakyNeuron(AbstractProcess):
    """`v = decay(v) + a + bias - reset`, a spike where v > vth; `reset` is "subtract" (at the next step) or "none".

    In fixed point, a is shifted by 6 bits, bias has its exponent, and v saturates, as in Lava's LIF.
    """

    def __init__(self, *, shape, dv, vth, bias_mant, bias_exp, reset):
        super().__init__(reset=reset)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.v = Var(shape=shape, init=0)
        self.dv = Var(shape=(1,), init=dv)
        self.vth = Var(shape=(1,), init=vth)
        self.bias_mant = Var(shape=shape, init=bias_mant)
        self.bias_exp = Var(shape=shape, init=bias_exp)


class _Leaky(PyLoihiProcessModel):
    def run_spk(self):
        fired = self.v > self.threshold()
        v = self.decayed() + self.drive(self.a_in.recv())
        if self.proc_params["reset"] == "subtract":
            v = v - fired * self.threshold()
        self.v[:] = self.limited(v)
        self.s_out.send(self.v > self.threshold())


@implements(proc=LeakyNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class FloatLeaky(_Leaky):
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    v: np.ndarray = LavaPyType(np.ndarray, float)
    dv: np.ndarray = LavaPyType(np.ndarray, float)
    vth: np.ndarray = LavaPyType(np.ndarray, float)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, float)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, float)

    def threshold(self):
        return self.vth

    def decayed(self):
        return self.v * (1 - self.dv)

    def drive(self, a):
        return a + self.bias_mant

    def limited(self, v):
        return v


@implements(proc=LeakyNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerLeaky(_Leaky):
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    dv: np.ndarray = LavaPyType(np.ndarray, np.int64)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int64)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.int64)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def threshold(self):
        return self.vth << 6

    def decayed(self):
        return np.sign(self.v) * (np.abs(self.v) * (4096 - self.dv) >> 12)

    def drive(self, a):
        return (a.astype(np.int64) << 6) + (self.bias_mant << self.bias_exp)

    def limited(self, v):
        return np.clip(v, 1 - 2**23, 2**23 - 1)
