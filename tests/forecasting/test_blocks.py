"""Blocks of rows: all rows once, in threads, and errors are not lost."""

import numpy as np
import pytest

from phase19.forecasting.blocks import for_blocks, row_blocks, side_by_side


def test_blocks_cover_all_rows_once():
    blocks = row_blocks(10_000, 100)
    assert len(blocks) > 1
    assert np.concatenate([np.arange(10_000)[rows] for rows in blocks]).tolist() == list(range(10_000))
    assert row_blocks(0, 5) == [slice(0, 0)]


@pytest.mark.parametrize("rows", [0, 3, 10_000])
def test_each_block_is_worked_on_once(rows):
    seen, number = np.zeros(rows), np.full(rows, -1)

    def count(block, own):
        seen[own] += 1
        number[own] = block

    for_blocks(count, rows, 100)
    assert (seen == 1).all()
    assert np.array_equal(number, np.arange(rows) // 655)


def test_an_error_in_a_block_is_raised():
    def fail(block, _rows):
        if block == 7:
            raise ValueError("block 7")

    with pytest.raises(ValueError, match="block 7"):
        for_blocks(fail, 10_000, 100)


def test_two_functions_give_their_results_in_order_and_either_may_fail():
    assert side_by_side(lambda: 1, lambda: "b") == (1, "b")
    for pair in ((lambda: 1 / 0, lambda: 2), (lambda: 1, lambda: 2 / 0)):
        with pytest.raises(ZeroDivisionError):
            side_by_side(*pair)
