"""Surrogate gradients by name: forward a Heaviside step, backward a pseudo-derivative of a framework, or one's own.

Forward all are `u > 0`, bit for bit; backward each is its framework's own code. Names without a dot are snntorch's, but
for `paper_triangle`, the paper's. `norse.*` are norse's (extra `norse`), `slayer` is lava-dl's (extra `lava`).

A name with a colon is one's own: `my_module:gauss` is the callable `gauss` in `my_module.py`, found on Python's path or
in the working directory, which takes membranes minus threshold as snntorch's `spike_grad` does; `my_module:gauss:0.5`
is what `gauss(0.5)` returns. Only training imports it.

Left out is what is random, in either direction (snntorch's SSO, norse's logistic), what has no gradient (norse's
heaviside), and snntorch's LSO, whose code calls that of SSO.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from snntorch import surrogate
from torch import Tensor, nn

from snn_codec.errors import UserError

SpikeFunction = Callable[[Tensor], Tensor]

SEARCH_SLOPE = 3.0  # of the fast sigmoid in a search, whatever the model was trained with


@dataclass(frozen=True)
class Surrogate:
    """How to make one, and what there is to know about it.

    Attributes:
        make: Parameter -> the spike function, from membrane minus threshold u.
        parameter: Its parameter's name in the framework; none if empty.
        default: The parameter's value where none is given.
        derivative: `H'(u)`, in the notation of TeX, with `k` for the parameter.
        package: What must be installed, by the name it is imported by; empty if it always is.
        extra: The extra of ours that brings it.
    """

    make: Callable[[float], SpikeFunction]
    parameter: str
    default: float
    derivative: str
    package: str = ""
    extra: str = ""


class _PaperTriangle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, membrane: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.gamma = gamma
        return (membrane > 0).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (membrane,) = ctx.saved_tensors
        return gradient * ctx.gamma * (1 - membrane.abs()).clamp_min(0), None


def paper_triangle(gamma: float) -> SpikeFunction:
    """The paper's choice: `H'(u) = gamma max(0, 1 - |u|)`; it uses gamma = 0.3."""
    return lambda membrane: _PaperTriangle.apply(membrane, gamma)


def sigmoid(slope: float) -> SpikeFunction:
    """snntorch's sigmoid, whose gradient otherwise is inf / inf, so NaN, from `slope u < -88` on.

    Departs: beyond `|slope u| = 80` it is 0; there it was under 1e-34.
    """
    spike, most = surrogate.sigmoid(slope=slope), 80 / max(abs(slope), 1e-9)
    return lambda membrane: spike(membrane.clamp(-most, most))


def _norse(method: str) -> Callable[[float], SpikeFunction]:
    def make(alpha: float) -> SpikeFunction:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it scripts functions, which newer torch does not like
            from norse.torch.functional.threshold import threshold

        return lambda membrane: threshold(membrane, method, alpha)

    return make


def slayer(tau: float) -> SpikeFunction:
    """lava-dl's exponential, `H'(u) = exp(-|u| / tau) / (2 tau)`: relaxation `tau_rho = tau`, `scale_rho = 1`.

    Departs: lava-dl fires from `u >= 0` on; here, as in the other frameworks, 0 is below the threshold. Its neurons
    multiply both parameters by constants that suit the integers of Loihi, which are not used.
    """
    from lava.lib.dl.slayer.spike.spike import Spike

    def spike(membrane: Tensor) -> Tensor:
        below = membrane - torch.finfo(membrane.dtype).tiny
        return Spike.apply(torch.where(membrane > 0, membrane, below), 0.0, tau, 1.0, False, 0, 1)

    return spike


SURROGATES: dict[str, Surrogate] = {
    "fast_sigmoid": Surrogate(
        lambda slope: surrogate.fast_sigmoid(slope=slope), "slope", 25, r"1 / (1 + k|u|)^2"
    ),
    "atan": Surrogate(
        lambda alpha: surrogate.atan(alpha=alpha), "alpha", 2, r"(k/2) / (1 + (\pi k u / 2)^2)"
    ),
    "sigmoid": Surrogate(sigmoid, "slope", 25, r"k e^{-ku} / (1 + e^{-ku})^2"),
    # not a triangle: this is what snntorch's code, and its documentation, say
    "triangular": Surrogate(
        lambda threshold: surrogate.triangular(threshold=threshold),
        "threshold",
        1,
        r"k\ (u < 0),\ -k\ (u \geq 0)",
    ),
    "straight_through": Surrogate(lambda _: surrogate.straight_through_estimator(), "", 1, "1"),
    "heaviside": Surrogate(lambda _: surrogate.heaviside(), "", 1, r"1\ (u > 0),\ 0\ (u \leq 0)"),
    "spike_rate_escape": Surrogate(  # its factor, 25 in snntorch, is 1
        lambda beta: surrogate.spike_rate_escape(beta=beta, slope=1), "beta", 1, r"e^{-k|u - 1|}"
    ),
    "sfs": Surrogate(  # its bound is snntorch's 1
        lambda slope: surrogate.SFS(slope=slope, B=1), "slope", 25, r"1 / (1 + k|u|)^2\ (u > 1)"
    ),
    "paper_triangle": Surrogate(paper_triangle, "gamma", 0.3, r"k\,\max(0, 1 - |u|)"),
    # it takes an alpha, which norse 1.1 does not use
    "norse.superspike": Surrogate(_norse("super"), "", 1, r"1 / (1 + |u|)^2", "norse", "norse"),
    "norse.triangle": Surrogate(_norse("triangle"), "alpha", 0.3, r"k\,\max(0, 1 - |u|)", "norse", "norse"),
    "norse.tanh": Surrogate(_norse("tanh"), "k", 1, r"1 - \tanh^2(ku)", "norse", "norse"),
    "norse.circ": Surrogate(_norse("circ"), "alpha", 1, r"(1 + (u/k)^2)^{-3/2}", "norse", "norse"),
    "norse.erfc": Surrogate(_norse("heavi_erfc"), "k", 1, r"(2/\sqrt{\pi})\,e^{-(ku)^2}", "norse", "norse"),
    "slayer": Surrogate(slayer, "tau", 1, r"e^{-|u|/k} / 2k", "lava", "lava"),
}


OWN = re.compile(
    r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)(:(?P<parameter>.+))?"
)


def parse(spec: str) -> tuple[str, float]:
    """`name` or `name:parameter` as (name, parameter), the parameter's default in place.

    One's own (`module:attribute`, with or without a parameter) is a name as a whole, whose parameter here is 1.

    Raises:
        UserError: No surrogate has this name, it takes no parameter, or this is none; or its framework is missing, or
            one's own cannot be imported or is not a surrogate.
    """
    name, colon, text = spec.strip().partition(":")
    if is_own(spec.strip()):
        spike_function(spec.strip(), 1.0)
        return spec.strip(), 1.0
    found = _find(name)
    if not colon:
        return name, found.default
    if not found.parameter:
        raise UserError(f"surrogate {spec!r}: {name} takes no parameter; write {name} alone")
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise UserError(
            f"surrogate {spec!r}: its parameter ({found.parameter}) must be a number above 0, as in "
            f"{name}:{found.default:g}"
        )
    return name, value


def label(name: str, value: float) -> str:
    """The shortest spec that `parse` turns into these: one name for a choice in folders, tables and figures."""
    if is_own(name) or not _find(name).parameter:
        return name
    short = f"{value:g}"
    return f"{name}:{short if float(short) == value else repr(value)}"


def check_name(name: str) -> None:
    """See that `name` is a surrogate's, or has the form of one's own; nothing is imported.

    Raises:
        UserError: It does not.
    """
    if name not in SURROGATES and not is_own(name):
        raise UserError(
            f"surrogate {name!r} is not known; choose from {', '.join(SURROGATES)}, or name your own as module:function"
        )


def is_own(name: str) -> bool:
    """Whether a name has the form `module:attribute` or `module:attribute:parameter`."""
    return name.partition(":")[0] not in SURROGATES and OWN.fullmatch(name) is not None


def spike_function(name: str, slope: float) -> SpikeFunction:
    """The Heaviside step with the surrogate gradient `name`; `slope` is that function's own parameter.

    Args:
        name: A key of `SURROGATES`, or one's own; that has its parameter, if any, in its name.
        slope: In the notation of the surrogate's framework.

    Raises:
        UserError: No surrogate has this name, its framework is missing, or one's own cannot be imported or is not a
            Heaviside step with a gradient.
    """
    return _own(name) if is_own(name) else _find(name).make(slope)


@contextmanager
def for_search(neuron: nn.Module) -> Iterator[None]:
    """Give a neuron of snntorch the surrogate gradient of a search (`snn_codec.search`) within a `with` block."""
    trained = neuron.spike_grad
    neuron.spike_grad = spike_function("fast_sigmoid", SEARCH_SLOPE)
    try:
        yield
    finally:
        neuron.spike_grad = trained


def derivative(spec: str) -> str:
    """`H'(u)` of the surrogate that a spec names, in the notation of TeX; empty for one's own."""
    return "" if is_own(spec) else SURROGATES[parse(spec)[0]].derivative


def pseudo_derivative(name: str, slope: float, membrane: Tensor) -> Tensor:
    """`H'(u)` at membranes minus threshold u, any shape, as the framework computes it."""
    membrane = membrane.detach().clone().requires_grad_()
    spike_function(name, slope)(membrane).sum().backward()
    return membrane.grad


def installed(name: str) -> bool:
    """Whether the framework of the surrogate `name` is there."""
    return not SURROGATES[name].package or find_spec(SURROGATES[name].package) is not None


def own_folder(name: str) -> str:
    """The folder that has to be on Python's path for one's own surrogate to be found in another process."""
    module = _own_module(name, _own_parts(name)["module"])
    levels = module.__name__.count(".") + (2 if hasattr(module, "__path__") else 1)
    folder = os.path.abspath(module.__file__)
    for _ in range(levels):
        folder = os.path.dirname(folder)
    return folder


def _find(name: str) -> Surrogate:
    check_name(name)
    if not installed(name):
        extra, where = SURROGATES[name].extra, " (Python 3.10 only)" if name == "slayer" else ""
        raise UserError(f'surrogate {name!r} needs {extra}{where}: pip install "snn_codec[{extra}]"')
    return SURROGATES[name]


def _own_parts(name: str) -> re.Match[str]:
    parts = OWN.fullmatch(name)
    assert parts, name  # `check_name` has seen to it
    return parts


def _own(name: str) -> SpikeFunction:
    parts = _own_parts(name)
    module = _own_module(name, parts["module"])
    try:
        function = module
        for attribute in parts["attribute"].split("."):
            function = getattr(function, attribute)
    except AttributeError as error:
        raise UserError(f"surrogate {name!r}: {error}; name a function of that module") from error
    if parts["parameter"] is not None:
        value = _number(parts["parameter"])
        if math.isnan(value):
            raise UserError(f"surrogate {name!r}: its parameter must be a number, not {parts['parameter']!r}")
        try:
            function = function(value)
        except Exception as error:  # whatever the user's code raises
            raise UserError(f"surrogate {name!r}: making it failed ({error!r})") from error
    _check_own(name, function)
    return function


def _own_module(name: str, module: str):  # noqa: ANN202 - a module
    here = os.getcwd()
    try:
        if here not in sys.path and find_spec(module.partition(".")[0]) is None:
            sys.path.append(here)  # which the program `snn-codec`, unlike `python -m`, does not have
            importlib.invalidate_caches()
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise UserError(f"surrogate {name!r}: importing {module} failed ({error})") from error
        raise UserError(
            f"surrogate {name!r}: there is no module {module} on Python's path or in {here}; "
            "add its folder to PYTHONPATH, or run this from there"
        ) from error
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"surrogate {name!r}: importing {module} failed ({error!r})") from error


def _check_own(name: str, function: SpikeFunction) -> None:
    """See that a function is a Heaviside step forward, and has a gradient of the right shape backward."""
    membrane = torch.tensor([[-3.0, -0.5, -1e-6, 0.0], [1e-6, 0.5, 1.0, 3.0]], requires_grad=True)
    try:
        spikes = function(membrane)
        spikes.sum().backward()
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"surrogate {name!r}: calling it failed ({error!r})") from error
    if not torch.equal(spikes.detach(), (membrane > 0).to(membrane.dtype)):
        raise UserError(
            f"surrogate {name!r}: forward it must be 1 where the membrane minus threshold is above 0, else 0; "
            "it may choose the gradient alone"
        )
    if membrane.grad is None or not membrane.grad.isfinite().all():
        raise UserError(f"surrogate {name!r}: its gradient is missing or not finite")


def _number(text: str) -> float:
    """A finite number; else NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


class LazySurrogate:
    """A Heaviside step whose surrogate gradient is looked up when a gradient is needed for the first time.

    So a model can be used without the package that its surrogate comes from. All surrogates fire where `u > 0`.

    Args:
        name, slope: As `spike_function` takes them.

    Raises:
        UserError: There is no such surrogate; when it is called with a gradient, also that its package is missing.
    """

    def __init__(self, name: str, slope: float):
        check_name(name)
        self.name, self.slope = name, slope
        self._function: SpikeFunction | None = None

    def __call__(self, membrane: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and membrane.requires_grad):
            return (membrane > 0).to(membrane.dtype)
        if self._function is None:
            self._function = spike_function(self.name, self.slope)
        return self._function(membrane)
