"""Which program of the demo runs on which data, and how its result becomes a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorjit.demo import data, programs

Array = NDArray[Any]
Draw = Callable[[Any, Path], None]

TRADING_DAYS = 252.0
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Case:
    """A plain function, its arguments, and what to do with its result."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    draw: Draw


def load_cases() -> tuple[Case, ...]:
    """Every case, its data loaded."""
    terrain = data.load_terrain()
    photo = data.load_photo()
    grey = photo @ LUMA
    mri = data.load_mri()
    noisy = (mri + np.random.default_rng(7).normal(0.0, 0.05, mri.shape)).astype(np.float32)
    prices = data.load_prices()
    volatility = programs.rolling_volatility(prices, 21, TRADING_DAYS)
    spot = prices[21:, np.newaxis]
    strike = spot[-1] * np.linspace(0.5, 1.5, 101)
    pixels = photo[::2, ::2].reshape(-1, 3).astype(np.float64)
    centres = np.ascontiguousarray(pixels[:: pixels.shape[0] // 7][:8])
    shape = photo[::2, ::2].shape
    real, imaginary = np.linspace(-2.2, 0.8, 480), np.linspace(-1.2, 1.2, 384)
    return (
        Case(
            "hillshade",
            programs.hillshade,
            (terrain.elevation, terrain.dx, terrain.dy, 315.0, 45.0),
            grey_image,
        ),
        Case("unsharp", programs.unsharp, (photo, 3, 1.5, 0.01), colour_image),
        Case("bilateral", programs.bilateral, (grey, 4, 3.0, 0.1), grey_image),
        Case("diffuse", programs.diffuse, (noisy, 0.08, 0.2, 0.002, 60), grey_image),
        Case("volatility", programs.rolling_volatility, (prices, 21, TRADING_DAYS), line_chart),
        Case("drawdown", programs.drawdown, (prices,), line_chart),
        Case(
            "black_scholes",
            programs.black_scholes,
            (spot, strike, 0.5, 0.04, volatility[:, np.newaxis]),
            heat_map,
        ),
        Case("kmeans", programs.kmeans, (pixels, centres, 6), painting(shape)),
        Case("mandelbrot", programs.mandelbrot, (real, imaginary, 60), heat_map),
    )


def grey_image(result: Array, path: Path) -> None:
    """Save a matrix as a grey picture."""
    _imsave(path, result, cmap="gray")


def colour_image(result: Array, path: Path) -> None:
    """Save an (h, w, 3) array from 0 to 1 as a colour picture."""
    _imsave(path, np.clip(result, 0.0, 1.0))


def heat_map(result: Array, path: Path) -> None:
    """Save a matrix in false colours."""
    _imsave(path, result, cmap="magma")


def painting(shape: tuple[int, ...]) -> Draw:
    """Save the first of two results, a list of pixels, as a colour picture of this shape."""
    return lambda result, path: colour_image(result[0].reshape(shape), path)


def line_chart(result: Array, path: Path) -> None:
    """Save a vector as a curve."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (heavy; without pyplot, so no window and no state)

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(result)
    axes.set_title(path.stem)
    axes.set_xlabel("trading day")
    figure.savefig(path)


def _imsave(path: Path, pixels: Array, **options: Any) -> None:
    from matplotlib.image import imsave  # noqa: PLC0415  (heavy, and an extra)

    imsave(path, pixels, **options)
