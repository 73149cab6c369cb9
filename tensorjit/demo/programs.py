"""Ordinary NumPy functions, each written as one would write it without tensorjit.

Nothing here knows of the compiler: no decorators, no special types, no order of statements chosen for it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def hillshade(elevation: Array, dx: float, dy: float, azimuth: float, altitude: float) -> Array:
    """How bright a terrain lies under a sun at `azimuth` and `altitude` (degrees), from 0 to 1.

    B. K. P. Horn's weighted differences, "Hill shading and the reflectance map", Proc. IEEE 69 (1981).

    >>> hillshade(np.zeros((3, 3)), 1.0, 1.0, 315.0, 90.0)
    array([[1.]])
    """
    z = elevation * 1.0
    west = z[:-2, :-2] + 2.0 * z[1:-1, :-2] + z[2:, :-2]
    east = z[:-2, 2:] + 2.0 * z[1:-1, 2:] + z[2:, 2:]
    north = z[:-2, :-2] + 2.0 * z[:-2, 1:-1] + z[:-2, 2:]
    south = z[2:, :-2] + 2.0 * z[2:, 1:-1] + z[2:, 2:]
    slope_east = (east - west) / (8.0 * dx)
    slope_north = (north - south) / (8.0 * dy)

    turn = np.deg2rad(azimuth)
    rise = np.deg2rad(altitude)
    facing = slope_east * np.sin(turn) + slope_north * np.cos(turn)
    light = np.sin(rise) - np.cos(rise) * facing
    return np.clip(light / np.sqrt(1.0 + slope_east**2 + slope_north**2), 0.0, 1.0)


def blur(image: Array) -> Array:
    """The binomial filter 1-4-6-4-1 along both axes; the two outermost rows and columns stay as they are."""
    rows = image * 1.0
    rows[2:-2] = (image[:-4] + 4.0 * image[1:-3] + 6.0 * image[2:-2] + 4.0 * image[3:-1] + image[4:]) / 16.0
    both = rows * 1.0
    both[:, 2:-2] = (rows[:, :-4] + 4.0 * rows[:, 1:-3] + 6.0 * rows[:, 2:-2] + 4.0 * rows[:, 3:-1] + rows[:, 4:]) / 16.0
    return both


def unsharp(image: Array, turns: int, amount: float, threshold: float) -> Array:
    """Sharpen: add what a blur takes away, where it is more than noise.

    >>> unsharp(np.ones((8, 8, 3)), 2, 1.5, 0.0).max()
    np.float64(1.0)
    """
    soft = image
    for _ in range(turns):
        soft = blur(soft)
    detail = image - soft
    sharp = image + amount * np.where(np.abs(detail) > threshold, detail, 0.0)
    return np.clip(sharp, 0.0, 1.0)


def bilateral(image: Array, radius: int, space: float, tone: float) -> Array:
    """Smooth a grey image but keep its edges: neighbours count by distance and by likeness.

    C. Tomasi and R. Manduchi, "Bilateral filtering for gray and color images", ICCV 1998.

    >>> bilateral(np.ones((9, 9)), 2, 2.0, 0.1).shape
    (5, 5)
    """
    height = image.shape[0] - 2 * radius
    width = image.shape[1] - 2 * radius
    centre = image[radius : radius + height, radius : radius + width]
    total = np.zeros_like(centre)
    weights = np.zeros_like(centre)
    for down in range(2 * radius + 1):
        for right in range(2 * radius + 1):
            near = image[down : down + height, right : right + width]
            far = (down - radius) ** 2 + (right - radius) ** 2
            weight = np.exp(-far / (2.0 * space**2) - (near - centre) ** 2 / (2.0 * tone**2))
            total += weight * near
            weights += weight
    return total / weights


def rolling_volatility(prices: Array, window: int, periods: float) -> Array:
    """The yearly volatility over each `window` of daily returns, `periods` of which make a year.

    >>> rolling_volatility(np.exp(np.arange(10.0)), 5, 252.0).round(6)
    array([0., 0., 0., 0., 0.])
    """
    returns = np.log(prices[1:] / prices[:-1])
    length = returns.shape[0] - window + 1
    mean = np.zeros(length)
    for day in range(window):
        mean += returns[day : day + length]
    mean /= window
    variance = np.zeros(length)
    for day in range(window):
        variance += (returns[day : day + length] - mean) ** 2
    return np.sqrt(variance / (window - 1) * periods)


def drawdown(prices: Array) -> Array:
    """How far each price lies below the highest so far: an element at a time, as a beginner writes it.

    >>> drawdown(np.array([1.0, 2.0, 1.0, 4.0]))
    array([ 0. ,  0. , -0.5,  0. ])
    """
    below = np.zeros(prices.shape[0])
    peak = prices[0]
    for day in range(prices.shape[0]):
        if prices[day] > peak:
            peak = prices[day]
        below[day] = prices[day] / peak - 1.0
    return below


def normal_cdf(x: Array) -> Array:
    """The normal distribution function, to 7.5e-8.

    M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), formula 26.2.17.

    >>> normal_cdf(np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.158655, 0.5     , 0.841345])
    """
    t = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = 0.3989422804014327 * np.exp(-0.5 * x * x) * series
    return np.where(x < 0.0, tail, 1.0 - tail)


def black_scholes(spot: Array, strike: Array, years: float, rate: float, volatility: Array) -> Array:
    """Prices of European calls: F. Black and M. Scholes, J. Political Economy 81 (1973).

    >>> black_scholes(np.array([100.0]), np.array([100.0]), 1.0, 0.05, np.array([0.2])).round(4)
    array([10.4506])
    """
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d2 = d1 - spread
    return spot * normal_cdf(d1) - strike * np.exp(-rate * years) * normal_cdf(d2)


def kmeans(pixels: Array, centres: Array, turns: int) -> tuple[Array, Array]:
    """Lloyd's algorithm: the pixels, each replaced by its cluster's centre, and the centres.

    S. P. Lloyd, "Least squares quantization in PCM", IEEE Trans. Information Theory 28 (1982).

    >>> kmeans(np.array([[0.0], [1.0], [9.0]]), np.array([[0.0], [9.0]]), 3)[1]
    array([[0.5],
           [9. ]])
    """
    centres = centres * 1.0
    label = np.zeros(pixels.shape[0], dtype=np.int64)
    for _ in range(turns):
        nearest = ((pixels - centres[0]) ** 2).sum(axis=1)
        label = np.zeros(pixels.shape[0], dtype=np.int64)
        for c in range(1, centres.shape[0]):
            distance = ((pixels - centres[c]) ** 2).sum(axis=1)
            label = np.where(distance < nearest, c, label)
            nearest = np.minimum(nearest, distance)
        for c in range(centres.shape[0]):
            member = label == c
            count = member.sum()
            if count > 0:
                centres[c] = (pixels * member[:, np.newaxis]).sum(axis=0) / count
    painted = np.zeros_like(pixels)
    for c in range(centres.shape[0]):
        painted = np.where((label == c)[:, np.newaxis], centres[c], painted)
    return painted, centres


def mandelbrot(real: Array, imaginary: Array, limit: int) -> Array:
    """After how many turns of z*z + c each point of a grid leaves the circle of radius 2.

    >>> mandelbrot(np.array([0.0, 1.0]), np.array([0.0]), 9)
    array([[9, 2]])
    """
    cr = real[np.newaxis, :]
    ci = imaginary[:, np.newaxis]
    zr = np.zeros((imaginary.shape[0], real.shape[0]))
    zi = np.zeros((imaginary.shape[0], real.shape[0]))
    count = np.zeros((imaginary.shape[0], real.shape[0]), dtype=np.int64)
    inside = zr * zr + zi * zi <= 4.0
    turn = 0
    while turn < limit and inside.any():
        next_zr = np.where(inside, zr * zr - zi * zi + cr, zr)
        zi = np.where(inside, 2.0 * zr * zi + ci, zi)
        zr = next_zr
        inside = zr * zr + zi * zi <= 4.0
        count += inside
        turn += 1
    return count


def diffuse(image: Array, kappa: float, rate: float, tolerance: float, limit: int) -> Array:
    """Denoise by anisotropic diffusion until a turn changes less than `tolerance`; edges stay.

    P. Perona and J. Malik, "Scale-space and edge detection using anisotropic diffusion", IEEE PAMI 12 (1990).

    >>> diffuse(np.ones((4, 4)), 0.1, 0.2, 1e-3, 10).sum()
    np.float64(16.0)
    """
    u = image * 1.0
    change = 1.0
    turn = 0
    while change > tolerance and turn < limit:
        down = u[1:, :] - u[:-1, :]
        right = u[:, 1:] - u[:, :-1]
        down = rate * down * np.exp(-((down / kappa) ** 2))
        right = rate * right * np.exp(-((right / kappa) ** 2))
        before = u * 1.0
        u[:-1, :] += down
        u[1:, :] -= down
        u[:, :-1] += right
        u[:, 1:] -= right
        change = np.abs(u - before).max()
        turn += 1
    return u
