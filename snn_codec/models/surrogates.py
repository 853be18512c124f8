"""Surrogate gradients by name, of three frameworks: a Heaviside step forward, a chosen pseudo-derivative backward.

Forward all are `u > 0`, bit for bit; backward each is its framework's own code. Names without a dot are snntorch's, but
for `paper_triangle`, the paper's. `norse.*` are norse's (extra `norse`), `slayer` is lava-dl's (extra `lava`).

Left out is what is random, in either direction (snntorch's SSO, norse's logistic), what has no gradient (norse's
heaviside), and snntorch's LSO, whose code calls that of SSO.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from snntorch import surrogate
from torch import Tensor

from snn_codec.errors import UserError

SpikeFunction = Callable[[Tensor], Tensor]


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


def parse(spec: str) -> tuple[str, float]:
    """`name` or `name:parameter` as (name, parameter), the parameter's default in place.

    Raises:
        UserError: No surrogate has this name, it takes no parameter, or this is none; or its framework is missing.
    """
    name, colon, text = spec.strip().partition(":")
    found = _find(name)
    if not colon:
        return name, found.default
    if not found.parameter:
        raise UserError(f"surrogate {spec!r}: {name} takes no parameter; write {name} alone")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UserError(
            f"surrogate {spec!r}: its parameter ({found.parameter}) must be a number above 0, as in "
            f"{name}:{found.default:g}"
        )
    return name, value


def label(name: str, value: float) -> str:
    """The shortest spec that `parse` turns into these: one name for a choice in folders, tables and figures."""
    if not _find(name).parameter:
        return name
    short = f"{value:g}"
    return f"{name}:{short if float(short) == value else repr(value)}"


def spike_function(name: str, slope: float) -> SpikeFunction:
    """The Heaviside step with the surrogate gradient `name`; `slope` is that function's own parameter.

    Raises:
        UserError: No surrogate has this name, or its framework is missing.
    """
    return _find(name).make(slope)


def pseudo_derivative(name: str, slope: float, membrane: Tensor) -> Tensor:
    """`H'(u)` at membranes minus threshold u, any shape, as the framework computes it."""
    membrane = membrane.detach().clone().requires_grad_()
    spike_function(name, slope)(membrane).sum().backward()
    return membrane.grad


def installed(name: str) -> bool:
    """Whether the framework of the surrogate `name` is there."""
    return not SURROGATES[name].package or find_spec(SURROGATES[name].package) is not None


def _find(name: str) -> Surrogate:
    if name not in SURROGATES:
        raise UserError(f"surrogate {name!r} is not known; choose from {', '.join(SURROGATES)}")
    if not installed(name):
        extra, where = SURROGATES[name].extra, " (Python 3.10 only)" if name == "slayer" else ""
        raise UserError(f'surrogate {name!r} needs {extra}{where}: pip install "snn_codec[{extra}]"')
    return SURROGATES[name]
