"""The real data of the demo: what matplotlib ships as its sample data.

A digital elevation model of the Jacksboro fault (NASA SRTM), a photograph of Grace Hopper, a slice of an MRI
scan, and Google's daily share prices from 2004 to 2008.
"""

import gzip
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

METRES_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator


class MissingDataError(RuntimeError):
    """The demo's data is not installed."""


@dataclass(frozen=True, slots=True)
class Terrain:
    """Heights in metres, and the size of a cell in metres."""

    elevation: Array
    dx: float
    dy: float


def load_terrain() -> Terrain:
    """The elevation model, south of Jacksboro, Tennessee."""
    with np.load(_sample("jacksboro_fault_dem.npz")) as data:
        latitude = np.deg2rad((float(data["ymin"]) + float(data["ymax"])) / 2.0)
        dx = abs(float(data["dx"])) * METRES_PER_DEGREE * float(np.cos(latitude))
        return Terrain(data["elevation"], dx, abs(float(data["dy"])) * METRES_PER_DEGREE)


def load_photo() -> Array:
    """The photograph, (height, width, 3) in float32 from 0 to 1."""
    image = _load("PIL.Image")
    with image.open(_sample("grace_hopper.jpg")) as photo:
        return np.asarray(photo.convert("RGB"), dtype=np.float32) / np.float32(255.0)


def load_mri() -> Array:
    """The MRI slice, (256, 256) in float32 from 0 to 1."""
    raw = gzip.decompress(_sample("s1045.ima.gz").read_bytes())
    pixels = np.frombuffer(raw, dtype="<u2").reshape(256, 256).astype(np.float32)
    return pixels / np.max(pixels)


def load_prices() -> Array:
    """Daily closing prices in dollars, oldest first."""
    with np.load(_sample("goog.npz")) as data:
        return np.ascontiguousarray(data["price_data"]["adj_close"], dtype=np.float64)


def _sample(name: str) -> Path:
    path = Path(_load("matplotlib").get_data_path()) / "sample_data" / name
    if not path.exists():
        raise MissingDataError(
            f"matplotlib is installed without its sample data ({name} is missing): install it from PyPI, or its sample-data package"
        )
    return path


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDataError(
            "the demo takes its data from matplotlib and reads it with Pillow, and "
            f"{module.partition('.')[0]} is not installed: pip install 'tensorjit[demo]'"
        ) from error
