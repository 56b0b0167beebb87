"""Work on many pairs in blocks of rows, several at a time: numpy lets threads run side by side on large arrays."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import polars as pl

One = TypeVar("One")
Other = TypeVar("Other")
_BLOCK_PAIRS = 65_536  # small enough for the processor's cache, large enough for threads
_MOST_THREADS = 8


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Split the rows of a matrix into blocks; there is at least one."""
    step = max(1, _BLOCK_PAIRS // max(columns, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, max(rows, 1), step)]


def for_blocks(function: Callable[[int, slice], None], rows: int, columns: int) -> None:
    """Call a function for each block of a matrix, with the block's number and its rows; the calls share no state.

    There are as many threads as Polars has, which POLARS_MAX_THREADS limits.
    """
    blocks = row_blocks(rows, columns)
    threads = min(pl.thread_pool_size(), len(blocks), _MOST_THREADS)
    if threads == 1:
        for number, block in enumerate(blocks):
            function(number, block)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, range(len(blocks)), blocks))


def side_by_side(one: Callable[[], One], other: Callable[[], Other]) -> tuple[One, Other]:
    """Call two functions that share no state, in two threads if Polars has more than one."""
    if pl.thread_pool_size() == 1:
        return one(), other()
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(other)
        return one(), waiting.result()
