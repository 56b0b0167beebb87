"""Random numbers by key: the same seed, stream, task, agent and attempt always give the same number.

Two plans can therefore be compared on the same random outcomes, whatever else is drawn and in which order.
"""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19.forecasting import Floats

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def id_keys(ids: pl.Series) -> NDArray[np.uint64]:
    """First 64 bits of the SHA-256 of each id's UTF-8 bytes, shape (n,): the same on every machine and version."""
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in ids.to_list()]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalise by SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(seed: int, stream: str, *keys: NDArray[np.uint64]) -> Floats:
    """Draw uniforms in the open interval (0, 1), one for each tuple of keys.

    Parameters
    ----------
    seed
        The run's seed, >= 0.
    stream
        Non-empty name of the purpose; different streams are independent.
    keys
        Arrays of 64-bit keys that broadcast against one another.

    Returns
    -------
    numpy.ndarray
        Uniforms, in the broadcast shape of `keys`.
    """
    # One-element arrays, because numpy warns of the intended overflow only for scalars.
    label = stream.encode()
    words = [int.from_bytes(label[start : start + 8], "little") for start in range(0, len(label), 8)]
    state = _mix(np.array([words[0]], dtype=np.uint64))
    for key in (*(np.array([word], dtype=np.uint64) for word in (*words[1:], seed % 2**64)), *keys):
        state = _mix(state ^ _mix(key))
    # 52 bits plus a half; with 53 bits, the largest value would round to 1.
    return ((state >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(seed: int, stream: str, *keys: NDArray[np.uint64]) -> Floats:
    """Draw standard normals, one for each tuple of keys; as :func:`uniforms`."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniforms(seed, stream, *keys)))
