"""The bottleneck as one Lava process, leaky neurons with the resets that Lava's LIF does not have, and a quick
delayed synapse."""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF
from lava.proc.sparse.process import Sparse
from scipy.sparse import csr_matrix


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


class DelayedSynapse(AbstractProcess):
    """A synapse with delays, as Lava's `DelayDense`, which sorts its weights by delay anew at every step.

    Args:
        weights: Sparse, `[depth N, n]`: those of each delay from 0 to depth - 1 (`snn_codec.hardware.description`).
        units: N.
        weight_exp: Exponent of what the weights of a delay add up to.
        graded: Whether its input is graded; otherwise what is not 0 is a spike.
        held: What is on its way at the start, `[N, depth]`; by default nothing.
    """

    def __init__(self, *, weights, units, weight_exp=0, graded=False, held=0):
        super().__init__(weights=weights, weight_exp=weight_exp, graded=graded)
        self.s_in = InPort(shape=(weights.shape[1],))
        self.a_out = OutPort(shape=(units,))
        self.on_way = Var(shape=(units, weights.shape[0] // units), init=held)


class _Delayed(PyLoihiProcessModel):
    def run_spk(self):
        self.a_out.send(self.on_way[:, 0])  # of the step before, as all synapses of Lava
        source = self.s_in.recv()
        source = source if self.proc_params["graded"] else source != 0
        arrives = self.shifted(self.proc_params["weights"] @ source, self.proc_params["weight_exp"])
        self.on_way = np.pad(self.on_way[:, 1:], ((0, 0), (0, 1)))
        self.on_way += arrives.reshape(self.on_way.shape[::-1]).T


@implements(proc=DelayedSynapse, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class FloatDelayed(_Delayed):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    on_way: np.ndarray = LavaPyType(np.ndarray, float)

    def shifted(self, arrives, exponent):
        return arrives


@implements(proc=DelayedSynapse, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerDelayed(_Delayed):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    on_way: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def shifted(self, arrives, exponent):
        return arrives << exponent if exponent > 0 else arrives >> -exponent


class Graded(AbstractProcess):
    """What arrives, as a graded spike: `clip((a + offset) >> shift)` to +-`largest`; in fixed point only."""

    def __init__(self, *, offset, shift, largest, **settings):
        super().__init__(largest=largest, **settings)
        self.a_in = InPort(shape=offset.shape)
        self.s_out = OutPort(shape=offset.shape)
        self.offset = Var(shape=offset.shape, init=offset)
        self.shift = Var(shape=offset.shape, init=shift)


@implements(proc=Graded, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerGraded(PyLoihiProcessModel):
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)
    shift: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        largest = self.proc_params["largest"]
        self.s_out.send(np.clip((self.a_in.recv() + self.offset) >> self.shift, -largest, largest))


class Bottleneck(AbstractProcess):
    """The spiking bottleneck: graded features in, spikes out.

    Ports:
        s_in: Features of one step, `[width]`: graded integers in fixed point, floats in floating point. Lava would
            make integers of floats without a word, so that a file of the other ones is refused when a run begins.
        a_in: More current for each neuron, `[N]`; need not be connected.
        s_out: Spikes `[N]`, all of one step of sound.

    Args:
        description: Arrays of `snn_codec.hardware.description`.

    Attributes:
        latency: Steps from the input of a step to its spikes. Before that no neuron spikes.
        tag: "fixed_pt" or "floating_pt": what to give `Loihi2SimCfg(select_tag=...)`.
    """

    def __init__(self, *, description, **settings):
        super().__init__(description=description, **settings)
        self.s_in = InPort(shape=(int(description["width"]),))
        self.a_in = InPort(shape=description["bias_mant"].shape)
        self.s_out = OutPort(shape=description["bias_mant"].shape)

    @property
    def latency(self):
        return int(self.proc_params["description"]["latency"])

    @property
    def tag(self):
        return str(self.proc_params["description"]["tag"])


@implements(proc=Bottleneck, protocol=LoihiProtocol)
class BottleneckModel(AbstractSubProcessModel):
    """Synapses of the input, neurons, synapses between groups, and delays that bring the groups' spikes together."""

    def __init__(self, proc):
        description = proc.proc_params["description"]
        _check_numbers(proc)
        self.neurons = _neurons(description)
        proc.in_ports.a_in.connect(self.neurons.a_in)
        for number in range(int(description["inputs"])):
            synapse = _synapse(description, f"input{number}", rest=number == 0, graded=True)
            setattr(self, f"input{number}", synapse)
            proc.in_ports.s_in.connect(synapse.s_in)
            synapse.a_out.connect(self.neurons.a_in)
        for number in range(int(description["laterals"])):
            synapse = _synapse(description, f"lateral{number}")
            setattr(self, f"lateral{number}", synapse)
            self.neurons.s_out.connect(synapse.s_in)
            synapse.a_out.connect(self.neurons.a_in)
        if int(description["groups"]) == 1:
            self.neurons.s_out.connect(proc.out_ports.s_out)
            return
        self.together = _synapse(description, "output0")
        self.neurons.s_out.connect(self.together.s_in)
        self.together.a_out.connect(proc.out_ports.s_out)


def _check_numbers(bottleneck):
    """Refuse a file of floats in fixed point, and of integers in floating point."""
    for port in bottleneck.in_ports.s_in.get_src_ports():
        numbers = getattr(port.process, "arithmetic", None)
        if numbers not in (None, bottleneck.tag):
            fixed = bottleneck.tag == "fixed_pt"
            what, command, other = (
                ("features", "netx", "float") if fixed else ("graded integers", "nir", "fixed")
            )
            raise ValueError(
                f"{port.process.proc_params['origin']}: holds {what}, but the bottleneck is {bottleneck.tag}; give the "
                f"file of `export {command}`, or make the bottleneck {other}"
            )


def _synapse(description, name, rest=False, graded=False):
    """A synapse of the layer, delayed if there are groups, dense or sparse if not; at `rest`, what is on its way to the
    neurons at the start is a current that cancels their bias until the first input comes."""
    exponent, held = int(description[f"{name}_exponent"]), -description["held"]
    if int(description["groups"]) > 1:
        wait = description["input_delay"][:, None]
        held = np.where(np.arange(wait.max() + 1) <= wait, held[:, None], 0) if rest else 0
        return DelayedSynapse(
            weights=sparse(description, name), units=len(wait), weight_exp=exponent, graded=graded, held=held
        )
    settings = {"weight_exp": exponent, "num_message_bits": int(description["message_bits"])}
    if f"{name}_indptr" in description:
        synapse = Sparse(weights=sparse(description, name), **settings)
    else:
        synapse = Dense(weights=description[f"{name}_weight"], **settings)
    if rest:
        synapse.a_buff.init = held
    return synapse


def sparse(description, name):
    """A sparse matrix of a description."""
    parts = [description[f"{name}_{part}"] for part in ("data", "indices", "indptr")]
    return csr_matrix(tuple(parts), tuple(description[f"{name}_shape"].tolist()))


def _neurons(description):
    settings = {
        "shape": description["bias_mant"].shape,
        "dv": description["decay"].item(),
        "vth": description["threshold"].item(),
        "bias_mant": description["bias_mant"],
        "bias_exp": description["bias_exp"],
    }
    if str(description["reset"]) == "zero" or bool(description["stateless"]):
        return LIF(du=description["current_decay"].item(), **settings)
    return LeakyNeuron(reset=str(description["reset"]), **settings)
