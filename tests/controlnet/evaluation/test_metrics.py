import numpy as np
import pytest

from controlnet.evaluation.metrics import canny_f1, psnr
from controlnet.pixels import tile


def test_psnr_of_an_error_of_one_level_is_48_decibel():
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black + 1, black) == pytest.approx(48.13, abs=0.01)
    assert psnr(black, black) == float("inf")


def line(column):
    edges = np.zeros((9, 9), bool)
    edges[:, column] = True
    return edges


def test_edges_may_be_off_by_the_tolerance_and_no_more():
    assert canny_f1(line(4), line(5)) == 1
    assert canny_f1(line(4), line(6)) == 0
    assert canny_f1(line(4), line(6), tolerance=2) == 1


def test_edges_too_many_cost_precision_and_edges_too_few_recall():
    assert canny_f1(line(1) | line(5), line(1)) == pytest.approx(2 / 3)
    assert canny_f1(line(1), line(1) | line(5)) == pytest.approx(2 / 3)


def test_two_empty_maps_agree_and_one_empty_map_does_not():
    empty = np.zeros((9, 9), bool)
    assert canny_f1(empty, empty) == 1
    assert canny_f1(empty, line(1)) == 0


def test_tile_fills_the_last_row_with_black():
    white = np.full((2, 2, 3), 255, np.uint8)
    assert tile([white] * 3, 2).shape == (4, 4, 3)
    assert tile([white] * 3, 2)[2:, 2:].max() == 0
