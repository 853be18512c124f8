"""A lapped transform (MDCT) with perfect reconstruction, as rotations at block borders and a DCT-IV of each block.

Block t holds the samples [t M, (t + 1) M). At the border between two blocks, the samples at distance j on either side
are rotated into each other,

    left'_j = c_j left_j - s_j right_j,   right'_j = c_j right_j + s_j left_j,   c_j^2 + s_j^2 = 1,

and each block then goes through a DCT-IV. With c_j, s_j of a sine over the M samples around a border, this is the MDCT
with the sine window. Both parts are orthogonal, so that the inverse is the transpose, and the energy of an error in the
coefficients is that in the sound. The first and the last border are not rotated: as many blocks as the audio has steps
reconstruct all of it.

A sinusoid of frequency w and phase p at the centre of a block gives, near w, X[k] ~ W(w - w_k) cos(p - theta_k) with
w_k = pi (k + 1/2) / M and theta_k = pi (k + 1/2) / 2 (`phase`): neighbouring bins see it in quadrature, and from one
block to the next it turns by w M. The networks see coefficients turned by these angles, which makes them the same
function at every bin.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad


def mdct(audio: Tensor, frame: int, angle: Tensor | None = None) -> Tensor:
    """Audio `[..., samples]`, a multiple of `frame` samples -> coefficients `[..., step, frame]`.

    `angle`, `[frame / 2]`, has those of other rotations than the sine window's: c_j = sin(angle_j), from the border on.
    """
    return _dct4(_rotated(audio.unflatten(-1, (-1, frame)), 1.0, angle))


def inverse_mdct(coefficients: Tensor) -> Tensor:
    """Coefficients `[..., step, frame]` -> audio `[..., step * frame]`."""
    return _rotated(_dct4(coefficients), -1.0).flatten(-2)


def phase(bins: int) -> Tensor:
    """theta_k of the first `bins` bins, in radians: float64 `[bins]`."""
    return math.pi / 2 * (torch.arange(bins, dtype=torch.float64) + 0.5)


def turned(signed: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Coefficients `[..., step, bin]` of `steps` steps ago (negative: to come), turned to where their bin's centre
    frequency would have them now: real and imaginary part, each `[..., step, bin]`; zero outside the audio."""
    return turned_in_place(shifted(signed, steps), steps)


def turned_in_place(signed: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """As `turned`, but where they were: what a step that is so many steps later sees of each step."""
    angle = phase(signed.shape[-1]) * (1 + 2 * steps)
    return signed * torch.cos(angle).to(signed), signed * torch.sin(angle).to(signed)


def shifted(values: Tensor, steps: int) -> Tensor:
    """`[..., step, bin]` of `steps` steps ago (negative: to come), zero outside."""
    if steps >= 0:
        return pad(values, (0, 0, steps, 0))[..., : values.shape[-2], :]
    return pad(values, (0, 0, 0, -steps))[..., -steps:, :]


def sine(frame: int) -> Tensor:
    """The angles of the sine window, float64 `[frame / 2]`."""
    half = frame // 2
    return math.pi / 4 * (1 + (torch.arange(half, dtype=torch.float64) + 0.5) / half)


def _rotated(blocks: Tensor, sign: float, angle: Tensor | None = None) -> Tensor:
    """Blocks `[..., step, M]` with the samples around each inner border rotated into each other."""
    half = blocks.shape[-1] // 2
    angle = sine(2 * half) if angle is None else angle
    near, far = torch.sin(angle).to(blocks), sign * torch.cos(angle).to(blocks)
    left, right = blocks[..., :-1, half:].flip(-1), blocks[..., 1:, :half]
    ends = pad((near * left - far * right).flip(-1), (0, 0, 0, 1))
    starts = pad(near * right + far * left, (0, 0, 1, 0))
    first = torch.cat([blocks[..., :1, :half], starts[..., 1:, :]], -2)
    last = torch.cat([ends[..., :-1, :], blocks[..., -1:, half:]], -2)
    return torch.cat([first, last], -1)


def _dct4(x: Tensor) -> Tensor:
    """The orthonormal DCT-IV of the last axis, its own inverse, by a complex FFT of half the length."""
    size = x.shape[-1]
    twist = _twist(size).to(
        device=x.device, dtype=torch.complex128 if x.dtype == torch.float64 else torch.complex64
    )
    y = torch.fft.fft(torch.complex(x[..., 0::2], x[..., 1::2].flip(-1)) * twist) * twist
    return torch.stack([y.real, -y.imag.flip(-1)], -1).flatten(-2) * math.sqrt(2 / size)


@lru_cache(maxsize=8)
def _twist(size: int) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and gradients may have to pass it later
        angle = -math.pi * (torch.arange(size // 2, dtype=torch.float64) + 0.125) / size
        return torch.polar(torch.ones_like(angle), angle)
