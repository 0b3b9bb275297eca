"""From stained structures to camera counts: blur, haze, uneven light, shot noise, read noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline_lib.arrays.resample import resize, shrink
from pipeline_lib.synthesis.ranges import require

_HAZE_STEP = 8  # px; haze is so smooth that every 8th pixel holds all of it


@dataclass(frozen=True)
class Optics:
    """Microscope and camera; one instance serves a whole plate, so its uneven light can be learnt from the plate.

    Attributes:
        blur_px: Sigma of the Gaussian point spread function, px.
        haze: Share of the light that arrives out of focus, spread over `haze_px`.
        haze_px: Sigma of that spread, px.
        photons: Electrons in a pixel of brightness 1 where the light is full.
        background: Brightness of the empty well.
        vignetting: Share of the light that is missing in the corners of the frame.
        tilt: Share of the light gained (y, x) from the middle to the lower, right edge, and lost on the other side.
        gain: Counts per electron.
        offset: Counts without light.
        read_noise: Standard deviation of the counts without light.
        ceiling: Highest count of the camera; what is brighter saturates.
    """

    blur_px: float = 1.2
    haze: float = 0.1
    haze_px: float = 24.0
    photons: float = 600.0
    background: float = 0.03
    vignetting: float = 0.25
    tilt: tuple[float, float] = (0.05, -0.03)
    gain: float = 1.5
    offset: float = 150.0
    read_noise: float = 4.0
    ceiling: float = 65535.0

    def __post_init__(self) -> None:
        require(
            self,
            {
                "blur_px": (0, 20),
                "haze": (0, 0.9),
                "haze_px": (_HAZE_STEP, 200),
                "photons": (0, 1e5),
                "background": (0, 1),
                "vignetting": (0, 0.9),
                "gain": (0.01, 100),
                "offset": (0, 1e4),
                "read_noise": (0, 1e3),
                "ceiling": (1, 65535),
            },
        )


def expose(stained: NDArray[np.float32], optics: Optics) -> NDArray[np.float32]:
    """Turn the brightness of structures (C, Y, X) into the counts to expect, without noise."""
    light = gaussian_filter(stained, optics.blur_px, truncate=3, axes=(1, 2))
    light += optics.haze * (_haze(stained, optics.haze_px) - light)
    light += optics.background
    light *= illumination(stained.shape[1:], optics)
    light *= optics.gain * optics.photons
    light += optics.offset
    return np.asarray(light, np.float32)


def illumination(shape: tuple[int, ...], optics: Optics) -> NDArray[np.float32]:
    """Share of the full light that reaches each pixel (Y, X): 1 in the middle, falling with the squared distance."""
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in shape)
    rows = optics.tilt[0] * y - optics.vignetting / 2 * y**2
    columns = optics.tilt[1] * x - optics.vignetting / 2 * x**2
    return np.asarray(np.maximum(np.add.outer(1 + rows, columns), 0), np.float32)


def photograph(clean: NDArray[np.float32], optics: Optics, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add the noise of one exposure to expected counts of any shape.

    Shot noise has the variance of the Poisson distribution but is drawn from the normal one, which is three times as
    fast and no different above some twenty electrons.
    """
    noise = np.maximum(clean - np.float32(optics.offset), 0)
    noise *= optics.gain
    noise += optics.read_noise**2
    np.sqrt(noise, out=noise)
    noise *= rng.standard_normal(clean.shape, dtype=np.float32)
    noise += clean
    return np.asarray(np.clip(np.rint(noise, out=noise), 0, optics.ceiling), np.uint16)


def _haze(stained: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    blurred = gaussian_filter(shrink(stained, _HAZE_STEP), sigma / _HAZE_STEP, axes=(1, 2))
    return resize(blurred, stained.shape[1:])
