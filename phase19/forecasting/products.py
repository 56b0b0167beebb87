"""Products of many short vectors and small matrices, a column at a time: numpy is slow along short axes."""

import numpy as np

from phase19.forecasting import Floats, Ints


def at(values: Floats, index: Ints | slice) -> Floats:
    """Select along the first axis; several times as fast as indexing if the rows are short."""
    return values[index] if isinstance(index, slice) else np.take(values, index, axis=0)


def dots(one: Floats, other: Floats) -> Floats:
    """Products of r pairs of vectors, both of shape (r, s) or one of (s,); shape (r,)."""
    found = np.zeros(len(one))
    for left, right in zip(one.T, np.broadcast_to(other, one.shape).T, strict=True):
        found += left * right
    return found


def pair_dots(of_tasks: Floats, of_agents: Floats, task: Ints, agent: Ints) -> Floats:
    """Products of the vectors of tasks, shape (n, s), with those of agents, (m, s), for p pairs; shape (p,)."""
    found = np.zeros(task.size)
    for left, right in zip(of_tasks.T, of_agents.T, strict=True):
        found += np.take(left, task) * np.take(right, agent)
    return found


def table_dots(rows: Floats, columns: Floats) -> Floats:
    """Products of each vector of rows, shape (t, s), with each of columns, (a, s); shape (t, a)."""
    found = np.zeros((len(rows), len(columns)))
    for left, right in zip(rows.T, columns.T, strict=True):
        found += left[:, None] * right
    return found


def times_each(vectors: Floats, matrices: Floats) -> Floats:
    """Products of r vectors, shape (r, s), with as many matrices, (r, s, c); shape (r, c)."""
    found = np.zeros((len(vectors), matrices.shape[2]))
    for left, rows in zip(vectors.T, np.moveaxis(matrices, 1, 0), strict=True):
        found += left[:, None] * rows
    return found


def outer_squares(vectors: Floats) -> Floats:
    """Products of all components of each of r vectors, shape (r, s), with one another; shape (r, s, s)."""
    size = vectors.shape[1]
    found = np.empty((len(vectors), size, size))
    for row in range(size):
        for column in range(size):
            np.multiply(vectors[:, row], vectors[:, column], out=found[:, row, column])
    return found


def inverses(matrices: Floats) -> Floats:
    """Inverses of r symmetric positive definite matrices, shape (r, s, s), by Gauss-Jordan elimination.

    Positive definite matrices need no pivoting.
    """
    left = np.moveaxis(matrices, 0, 2).copy()
    size = len(left)
    for pivot in range(size):
        scale = 1.0 / left[pivot, pivot]
        left[pivot, pivot] = 1.0
        left[pivot] *= scale
        for row in range(size):
            if row != pivot:
                factor = left[row, pivot].copy()
                left[row, pivot] = 0.0
                left[row] -= factor * left[pivot]
    return np.ascontiguousarray(np.moveaxis(left, 2, 0))
