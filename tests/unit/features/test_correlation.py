"""Correlation of two channels: by hand, and the numbers of cp_measure."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cp_measure.core.measurecolocalization import get_correlation_pearson
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.features import measure_field
from pipeline_lib.features.correlation import correlation


def test_by_hand() -> None:
    labels = np.array([[1, 1, 1, 1, 0, 2, 2, 2]], dtype=np.int32)
    first = np.array([[1.0, 2, 3, 4, 99, 1, 2, 3]])
    second = np.array([[3.0, 5, 7, 9, -5, 2, 0, 1]])
    found = correlation(labels, first, second)
    assert found["Correlation_Correlation"] == pytest.approx([1.0, -0.5])
    assert found["Correlation_Slope"] == pytest.approx([2.0, -0.5])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([1e-3, 1.0, 1e3]))
def test_as_cp_measure_has_it(seed: int, count: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(count + 1).repeat(3), rng.integers(0, count + 1, 60)]).astype(np.int32)[None]
    first, second = rng.random((2, *labels.shape)) * scale + 1
    expected = get_correlation_pearson(first, second, labels)
    found = correlation(labels, first, second)
    np.testing.assert_allclose(found["Correlation_Correlation"], expected["Correlation_Pearson"], atol=1e-9)
    np.testing.assert_allclose(found["Correlation_Slope"], expected["Correlation_Slope"], rtol=1e-6, atol=1e-9)


def test_what_does_not_vary_has_no_correlation() -> None:
    labels = np.zeros((6, 9), dtype=np.uint32)
    labels[0, 0], labels[2:5, 2:5], labels[2:5, 6:9] = 1, 2, 3  # a single pixel, an even object, one that varies
    image = np.stack([np.full(labels.shape, 0.1), np.random.default_rng(0).random(labels.shape)])
    image[0, 3, 7] = 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = measure_field(image, {"cells": labels}, ["DNA", "GFP"], ["correlation"])
    assert np.isfinite(table["Cells_Correlation_Correlation_DNA_GFP"]).tolist() == [False, False, True]
