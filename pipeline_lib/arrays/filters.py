"""Smoothing and sharpening of planes with Gaussians, as Cellpose 3 does it before it scales intensities.

Planes wrap round: beyond an edge lies the opposite edge. The kernel is the reference's own, sampled between -Y/2 and
Y/2 + 1 along both axes: it moves pictures by up to a pixel, and a radius of r means about r * X / Y pixels along x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Planes = NDArray[np.float32]


def smooth_and_sharpen(planes: Planes, smooth_radius: float, sharpen_radius: float) -> Planes:
    """Take detail finer than `smooth_radius` and shades wider than `sharpen_radius`, in pixels, off (..., Y, X) planes.

    A radius of 0 switches its part off; with both at 0, the planes themselves are returned.
    """
    if not sharpen_radius:
        return _smooth(planes, smooth_radius) if smooth_radius else planes
    wide = _smooth(planes, sharpen_radius)
    if smooth_radius:
        return _smooth(planes, smooth_radius) - wide
    # The reference puts 1 in place of the middle of the negative kernel, instead of adding 1 to it.
    rows, columns = _kernels(planes.shape, sharpen_radius)
    return planes * np.float32(1 + rows[0] * columns[0]) - wide


def _smooth(planes: Planes, radius: float) -> Planes:
    rows, columns = _kernels(planes.shape, radius)
    spectrum = np.outer(fft.fft(rows), fft.rfft(columns)).conj()  # correlates, where the product would convolve
    transformed = fft.rfft2(planes) * spectrum.astype(np.complex64)
    return np.asarray(fft.irfft2(transformed, s=planes.shape[-2:]), np.float32)


def _kernels(shape: tuple[int, ...], radius: float) -> list[NDArray[np.float64]]:
    """Gaussian weights along y and x that sum to 1, the middle first."""
    height = shape[-2]
    places = [np.linspace(-height / 2, height / 2 + 1, length) for length in shape[-2:]]
    kernels = [np.exp(-0.5 * (place / radius) ** 2) for place in places]
    return [np.roll(kernel / kernel.sum(), -(kernel.size // 2)) for kernel in kernels]
