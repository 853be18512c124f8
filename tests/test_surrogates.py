"""Every surrogate fires as all others do, and learns by its own framework's derivative."""

import math
import sys
import warnings

import numpy as np
import pytest
import torch

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models import surrogates
from snn_codec.models.spiking import SpikingBottleneck
from snn_codec.models.surrogates import SURROGATES, label, parse, pseudo_derivative, spike_function


def choice(name):
    marks = [pytest.mark.lava] if name == "slayer" else []
    if name.startswith("norse"):
        marks = [pytest.mark.skipif(not surrogates.installed(name), reason="needs norse")]
    return pytest.param(name, marks=marks)


EVERY = [choice(name) for name in SURROGATES]
EDGES = [0.0, -0.0, 1.0, -1.0, 2.0**-126, -(2.0**-126), 1e-30, -1e-30, 1e-6, -1e-6, 3.6, -3.6, 1e6, -1e6]

# H'(u) in double precision, written from the documentation of each framework
CLOSED = {
    "fast_sigmoid": lambda u, k: 1 / (1 + k * abs(u)) ** 2,
    "atan": lambda u, k: k / 2 / (1 + (math.pi * k * u / 2) ** 2),
    "sigmoid": lambda u, k: k / (4 * np.cosh(np.clip(k * u / 2, -300, 300)) ** 2),
    "triangular": lambda u, k: np.where(u < 0, k, -k),
    "straight_through": lambda u, k: np.ones_like(u),
    "heaviside": lambda u, k: (u > 0) * 1.0,
    "spike_rate_escape": lambda u, k: np.exp(-k * abs(u - 1)),
    "sfs": lambda u, k: (u > 1) / (1 + k * abs(u)) ** 2,
    "paper_triangle": lambda u, k: k * np.maximum(0, 1 - abs(u)),
    "norse.superspike": lambda u, k: 1 / (1 + abs(u)) ** 2,
    "norse.triangle": lambda u, k: k * np.maximum(0, 1 - abs(u)),
    "norse.tanh": lambda u, k: 1 - np.tanh(k * u) ** 2,
    "norse.circ": lambda u, k: (1 + (u / k) ** 2) ** -1.5,
    "norse.erfc": lambda u, k: 2 / math.sqrt(math.pi) * np.exp(-((k * u) ** 2)),
    "slayer": lambda u, k: np.exp(-abs(u) / k) / (2 * k),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_all_fire_alike(name):
    random = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    membrane = torch.cat([torch.tensor(EDGES), random, random * 1e-3, random * 30])
    for slope in (0.3, 2.0, 25.0):
        spikes = spike_function(name, slope)(membrane)
        assert spikes.dtype == torch.float32
        assert torch.equal(spikes, (membrane > 0).float())


@pytest.mark.parametrize("name", EVERY)
def test_the_gradient_is_the_frameworks_formula(name):
    membrane = torch.cat([torch.linspace(-4, 4, 801), torch.tensor([-100.0, 100.0])])
    for slope in {SURROGATES[name].default, 0.5, 2.0, 25.0}:
        found = pseudo_derivative(name, slope, membrane)
        expected = CLOSED[name](membrane.double().numpy(), slope)
        np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_finite_and_in_proportion(name):
    membrane = torch.tensor(EDGES, requires_grad=True)
    (once,) = torch.autograd.grad(spike_function(name, 25.0)(membrane).sum(), membrane)
    (scaled,) = torch.autograd.grad(spike_function(name, 25.0)(membrane).mul(-3.0).sum(), membrane)
    assert once.isfinite().all()
    torch.testing.assert_close(scaled, -3 * once)


def test_snntorchs_triangular_is_negative_above_the_threshold():
    """Not a triangle: the gradient there asks for more where less is wanted. It is kept as the framework's."""
    assert pseudo_derivative("triangular", 0.5, torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.5, -0.5, -0.5]


def test_norses_and_the_papers_triangle_are_one():
    pytest.importorskip("norse")
    membrane = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    one, other = (pseudo_derivative(name, 0.3, membrane) for name in ("paper_triangle", "norse.triangle"))
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", EVERY)
def test_the_bottleneck_learns_by_each(name):
    torch.manual_seed(0)
    made = SpikingBottleneck(8, 12, config.Spiking(groups=3, surrogate=name, slope=SURROGATES[name].default))
    made(torch.randn(4, 30, 8))[0].square().sum().backward()
    assert made.encode_weight.grad.isfinite().all() and made.encode_weight.grad.abs().sum() > 0


def test_choices_of_one_seed_start_from_the_same_weights():
    made = []
    for name in ("fast_sigmoid", "atan", "paper_triangle"):
        torch.manual_seed(3)
        made.append(SpikingBottleneck(8, 12, config.Spiking(surrogate=name)).state_dict())
    for other in made[1:]:
        assert all(torch.equal(made[0][key], other[key]) for key in made[0])


# --- specs ---


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("fast_sigmoid:2", ("fast_sigmoid", 2.0)),
        ("fast_sigmoid", ("fast_sigmoid", 25)),
        (" atan ", ("atan", 2)),
        ("paper_triangle", ("paper_triangle", 0.3)),
        ("straight_through", ("straight_through", 1)),
        ("sigmoid:1e-1", ("sigmoid", 0.1)),
    ],
)
def test_specs(spec, expected):
    assert parse(spec) == expected
    assert parse(label(*expected)) == expected


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("magic", "'magic' is not known; choose from fast_sigmoid"),
        ("", "'' is not known"),
        ("atan:", r"parameter \(alpha\) must be a number above 0, as in atan:2"),
        ("atan:x", "must be a number"),
        ("atan:-1", "above 0"),
        ("atan:0", "above 0"),
        ("atan:nan", "must be a number"),
        ("atan:inf", "must be a number"),
        ("atan:1:2", "must be a number"),
        ("straight_through:2", "takes no parameter; write straight_through alone"),
    ],
)
def test_specs_that_say_nothing(spec, words):
    with pytest.raises(UserError, match=words):
        parse(spec)


def test_labels_keep_parameters_apart():
    assert label("atan", 0.3) == "atan:0.3" and label("fast_sigmoid", 25.0) == "fast_sigmoid:25"
    assert label("atan", 0.30000001) != label("atan", 0.3)


@pytest.mark.parametrize(("name", "extra"), [("norse.superspike", "norse"), ("slayer", "lava")])
def test_a_missing_framework_is_named(name, extra, monkeypatch):
    monkeypatch.setattr(surrogates, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=rf"{name}.*snn_codec\[{extra}\]"):
        parse(name)
    with pytest.raises(UserError, match=rf"snn_codec\[{extra}\]"):
        spike_function(name, 1.0)
    assert parse("atan") == ("atan", 2)


def test_without_a_gradient_none_is_looked_up():
    lazy = surrogates.LazySurrogate("nowhere_at_all:gauss", 1.0)
    membrane = torch.tensor([-1.0, 0.0, 1e-9, 2.0])
    assert lazy(membrane).tolist() == [0, 0, 1, 1]
    membrane.requires_grad_()
    with torch.no_grad():
        assert lazy(membrane).tolist() == [0, 0, 1, 1]
    with pytest.raises(UserError, match="no module nowhere_at_all"):
        lazy(membrane)


def test_norses_warnings_are_not_ours():
    pytest.importorskip("norse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pseudo_derivative("norse.tanh", 1.0, torch.zeros(1))


# --- one's own ---

GAUSS = """
import math
import sys
import torch


class Gauss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, membrane, width):
        ctx.save_for_backward(membrane)
        ctx.width = width
        return (membrane > 0).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (membrane,) = ctx.saved_tensors
        return gradient * torch.exp(-((membrane / ctx.width) ** 2)), None


def gauss(membrane):
    return Gauss.apply(membrane, 1.0)


def gauss_of(width):
    return lambda membrane: Gauss.apply(membrane, width)


def early(membrane):
    return (membrane >= 0).float() + 0 * membrane


def flat(membrane):
    return (membrane > 0).float()


def infinite(membrane):
    return Gauss.apply(membrane, 0.0)


number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module `own_surrogate` in the working directory, which is not on Python's path."""
    (tmp_path / "own_surrogate.py").write_text(GAUSS)
    (tmp_path / "broken_surrogate.py").write_text("import nothing_of_this_name")
    (tmp_path / "raising_surrogate.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    for name in ("own_surrogate", "broken_surrogate", "raising_surrogate"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    sys.modules.pop("own_surrogate", None)


def test_a_surrogate_of_ones_own_is_a_name_as_a_whole(own):
    membrane = torch.linspace(-2, 2, 41)
    for spec, width in (("own_surrogate:gauss", 1.0), ("own_surrogate:gauss_of:0.5", 0.5)):
        assert parse(spec) == (spec, 1.0) and label(*parse(spec)) == spec
        found = pseudo_derivative(spec, 7.0, membrane)
        torch.testing.assert_close(found, torch.exp(-((membrane / width) ** 2)))
        assert torch.equal(spike_function(spec, 1.0)(membrane), (membrane > 0).float())
    assert surrogates.own_folder("own_surrogate:gauss") == str(own)
    assert surrogates.derivative("own_surrogate:gauss") == "" and surrogates.derivative("atan:3")


def test_the_bottleneck_learns_by_ones_own(own):
    made = SpikingBottleneck(8, 12, config.Spiking(groups=3, surrogate="own_surrogate:gauss"))
    made(torch.randn(4, 30, 8))[0].square().sum().backward()
    assert made.encode_weight.grad.isfinite().all() and made.encode_weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module:gauss", "no module no_such_module on Python's path or in .*PYTHONPATH"),
        ("broken_surrogate:gauss", "importing broken_surrogate failed .*nothing_of_this_name"),
        ("raising_surrogate:gauss", "importing raising_surrogate failed .*ZeroDivisionError"),
        ("own_surrogate:gaus", "has no attribute 'gaus'.*name a function"),
        ("own_surrogate:number", "calling it failed"),
        ("own_surrogate:gauss_of:wide", "must be a number, not 'wide'"),
        ("own_surrogate:number:2", "making it failed"),
        ("own_surrogate:early", "forward it must be 1 where"),
        ("own_surrogate:flat", "calling it failed"),
        ("own_surrogate:infinite", "its gradient is missing or not finite"),
    ],
)
def test_what_is_no_surrogate_is_refused(own, spec, words):
    with pytest.raises(UserError, match=f"surrogate '{spec}': .*{words}"):
        parse(spec)


def test_a_name_is_checked_without_importing_anything(own):
    for name in ("fast_sigmoid", "slayer", "no_such_module:gauss", "package.module:Class.method", "a:b:0.5"):
        surrogates.check_name(name)
    assert "own_surrogate" not in sys.modules
    for name in ("magic", "magic:2", ":gauss", "own_surrogate:", "a b:gauss", ""):
        with pytest.raises(UserError, match="is not known; choose from .*module:function"):
            surrogates.check_name(name)
