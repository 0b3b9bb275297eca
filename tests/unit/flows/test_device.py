"""Labels from a torch device are those of the compiled functions, number for number; their tests say what is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline_lib.flows import device as module
from pipeline_lib.flows.device import masks_on_device
from pipeline_lib.flows.follow import LONGEST
from pipeline_lib.flows.masks import MaskSettings, find_seeds, masks_from_flow, paint_sinks
from pipeline_lib.flows.targets import flow_errors, flows_from_labels

every_device = pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))],
)


def both(device, flow, logit, how, steps=200) -> tuple[np.ndarray, np.ndarray]:
    on_device = (torch.from_numpy(values).to(device) for values in (flow, logit))
    return masks_on_device(*on_device, how, steps), masks_from_flow(flow, logit, how, steps)


def discs(seed: int, shape: tuple[int, int], count: int) -> np.ndarray:
    """Overlapping discs of 1 to 9 pixels radius, some cut by the rim; the later one covers the earlier."""
    rng = np.random.default_rng(seed)
    yy, xx = np.indices(shape)
    labels = np.zeros(shape, dtype=np.uint32)
    for label in range(1, count + 1):
        y, x, radius = rng.uniform((0, 0, 1), (*shape, 9))
        labels[np.hypot(yy - y, xx - x) <= radius] = label
    return labels


def noisy_output(seed: int, labels: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flow = flows_from_labels(labels) + rng.normal(scale=noise, size=(2, *labels.shape))
    logit = np.where(labels > 0, 3, -3) + rng.normal(scale=3 * noise, size=labels.shape)
    return flow.astype(np.float32), logit.astype(np.float32)


how_masks = st.builds(
    MaskSettings,
    cellprob_threshold=st.sampled_from([-4.0, 0.0, 0.1]),
    flow_threshold=st.sampled_from([None, 0.1, 0.4, 2.0]),
    min_size=st.sampled_from([0, 5, 15]),
    max_size_fraction=st.sampled_from([0.01, 0.1, 1.0]),
    enclosed=st.sampled_from(["absorb", "keep"]),
)


@every_device
@given(
    seed=st.integers(0, 10**9),
    shape=st.tuples(st.integers(1, 45), st.integers(1, 45)),
    noise=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
    how=how_masks,
    steps=st.sampled_from([1, 8, 30, 63]),
)
@settings(deadline=None, max_examples=30)
def test_same_labels_as_the_compiled_functions(device, seed, shape, noise, how, steps):
    output = noisy_output(seed, discs(seed, shape, 12), noise)
    on_device, compiled = both(device, *output, how, steps)
    assert on_device.dtype == compiled.dtype
    assert np.array_equal(on_device, compiled)


@every_device
@given(seed=st.integers(0, 10**9), how=how_masks)
@settings(deadline=None, max_examples=15)
def test_ties_everywhere(device, seed, how):
    """Flows of whole and half pixels end on few pixels, with equal counts side by side."""
    rng = np.random.default_rng(seed)
    flow = (rng.integers(-2, 3, size=(2, 24, 31)) / 2).astype(np.float32)
    logit = rng.integers(-1, 6, size=(24, 31)).astype(np.float32)
    on_device, compiled = both(device, flow, logit, how, steps=24)
    assert np.array_equal(on_device, compiled)


@every_device
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_blocks_change_nothing(device, noise, monkeypatch):
    labels = discs(1, (90, 100), 40)
    output = noisy_output(2, labels, noise)
    whole, compiled = both(device, *output, MaskSettings(), steps=40)
    monkeypatch.setattr(module, "BLOCK", 600)
    monkeypatch.setattr(module, "SINKS", 3)
    in_blocks, _ = both(device, *output, MaskSettings(), steps=40)
    assert compiled.max() > 10
    assert np.array_equal(whole, compiled)
    assert np.array_equal(in_blocks, compiled)


@every_device
def test_plateaus_and_corners_by_hand(device):
    """Columns of points end side by side on the rim, with equal counts, and blocks of points in the corners."""
    flow, logit = np.zeros((2, 30, 40), dtype=np.float32), np.full((30, 40), -1, dtype=np.float32)
    logit[16:, :5], logit[16:, 20:22], logit[16:, -5:] = 1, 1, 1
    flow[0], flow[1, :, :5], flow[1, :, -5:] = 99, -99, 99
    on_device, compiled = both(device, flow, logit, MaskSettings(flow_threshold=None))
    expected = np.zeros(logit.shape, dtype=np.uint32)
    expected[16:, :5], expected[16:, 20:22], expected[16:, -5:] = 1, 2, 3
    assert np.array_equal(compiled, expected)
    assert np.array_equal(on_device, expected)


@every_device
@given(counts=arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 14)))
@settings(deadline=None, max_examples=50)
def test_sinks_that_overlap(device, counts):
    painted = module._paint_sinks(torch.from_numpy(counts).to(device))
    assert np.array_equal(painted.cpu().numpy(), paint_sinks(counts, find_seeds(counts)))


@every_device
@pytest.mark.parametrize(("enclosed", "count"), [("absorb", 1), ("keep", 2)])
def test_enclosed_object(device, enclosed, count):
    """Every pixel of a frame, and of the square in it, takes one step to the first pixel of its object."""
    flow, logit = np.zeros((2, 16, 16), dtype=np.float32), np.full((16, 16), -1, dtype=np.float32)
    for first, last in ((1, 13), (3, 11), (5, 9)):
        flow[:, first : last + 1, first : last + 1] = -np.indices((last + 1 - first,) * 2)
        logit[first : last + 1, first : last + 1] *= -1
    how = MaskSettings(flow_threshold=None, max_size_fraction=1, enclosed=enclosed)
    on_device, compiled = both(device, flow, logit, how, steps=1)
    assert on_device.max() == count
    assert np.array_equal(on_device, compiled)


@every_device
@pytest.mark.parametrize("axes", [(9, 9), (6, 18), (20, 7)])
def test_heat_of_a_symmetric_object_is_the_same_to_the_last_bit(device, axes):
    """On the axes of symmetry the flow is exactly zero along one axis only if sums pair mirrored neighbours."""
    yy, xx = np.indices((60, 70))
    labels = (((yy - 30) / axes[0]) ** 2 + ((xx - 33) / axes[1]) ** 2 <= 1).astype(np.uint32)
    how = MaskSettings(flow_threshold=1e-44)
    on_device, compiled = both(device, *noisy_output(0, labels, 0), how)
    assert np.array_equal(compiled, labels)
    assert np.array_equal(on_device, labels)


@every_device
@pytest.mark.parametrize(("width", "gather"), [(2**15 + 2, True), (2**15 + 22, False)])
def test_longest_step(device, width, gather):
    """Points of 20 columns gather at the rim if it is nearer than the longest step, and stay apart if not."""
    flow, logit = np.full((2, 12, width), 1e6, dtype=np.float32), np.full((12, width), -1, dtype=np.float32)
    logit[:, :20] = 1
    on_device, compiled = both(device, flow, logit, MaskSettings(flow_threshold=None, min_size=0), steps=1)
    assert (on_device.max() == 1) == gather
    assert np.array_equal(on_device, compiled)


@every_device
@pytest.mark.parametrize("value", [0.0, 1.0, float(LONGEST), 1e6, 3e38, -3e38, 1e-45])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (9, 13)])
def test_uniform_flows_of_any_length(device, shape, value):
    flow, logit = np.full((2, *shape), value, dtype=np.float32), np.ones(shape, dtype=np.float32)
    for threshold in (None, 0.4):
        how = MaskSettings(flow_threshold=threshold, min_size=0, max_size_fraction=1)
        on_device, compiled = both(device, flow, logit, how, steps=20)
        assert np.array_equal(on_device, compiled)


@every_device
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (6, 7)])
def test_no_foreground(device, shape):
    on_device, compiled = both(
        device, np.ones((2, *shape), dtype=np.float32), np.full(shape, -1, dtype=np.float32), MaskSettings()
    )
    assert on_device.shape == shape
    assert on_device.dtype == np.uint32
    assert not on_device.any()
    assert np.array_equal(on_device, compiled)


@every_device
def test_threshold_is_rounded_as_the_logits_are(device):
    flow, logit = np.full((2, 4, 5), 9, dtype=np.float32), np.full((4, 5), 0.1, dtype=np.float32)
    for threshold, count in ((0.1, 0), (0.09999, 1)):
        how = MaskSettings(threshold, flow_threshold=None, max_size_fraction=1, min_size=0)
        on_device, compiled = both(device, flow, logit, how)
        assert on_device.max() == compiled.max() == count


@every_device
def test_setting_of_the_steps_wins(device):
    output = noisy_output(0, discs(4, (60, 60), 9), 0)
    how = MaskSettings(flow_threshold=None, niter=100)
    assert np.array_equal(*both(device, *output, how, steps=1))
    assert both(device, *output, how, steps=1)[0].max() > 0


@every_device
@pytest.mark.parametrize("seed", [1, 2])
def test_objects_exactly_at_the_error_threshold(device, seed):
    """The threshold is one of the errors, or the number next to it: sums must agree to the last bit."""
    output = noisy_output(seed, discs(seed, (32, 40), 6), 0.3)
    found = masks_from_flow(*output, MaskSettings(flow_threshold=None, min_size=0), steps=32)
    assert found.max() > 1
    for error in flow_errors(found, output[0])[:4]:
        for threshold in (np.nextafter(error, 0), error):
            how = MaskSettings(flow_threshold=float(threshold), min_size=0)
            on_device, compiled = both(device, *output, how, steps=32)
            assert np.array_equal(on_device, compiled)


@every_device
def test_bad_input_is_refused_with_the_same_words(device):
    flow, logit = np.zeros((2, 4, 4), dtype=np.float32), np.zeros((4, 5), dtype=np.float32)
    flow[0, 1, 1], logit[2, 2], logit[0, 0] = np.nan, np.inf, -np.inf
    on_device = torch.from_numpy(flow).to(device), torch.from_numpy(logit).to(device)
    with pytest.raises(ValueError, match=r"\(2, 4, 4\).*\(4, 5\).*1 of 32 flow.*2 of 20 logit"):
        masks_on_device(*on_device, MaskSettings())
    with pytest.raises(ValueError, match=r"^1 of 32 flow"):
        masks_on_device(on_device[0], torch.zeros(4, 4, device=device), MaskSettings())


@every_device
def test_arguments_are_left_as_they_were(device):
    output = noisy_output(0, discs(0, (40, 40), 9), 0.1)
    tensors = [torch.from_numpy(values.copy()).to(device) for values in output]
    masks_on_device(*tensors, MaskSettings())
    assert all(np.array_equal(tensor.cpu().numpy(), values) for tensor, values in zip(tensors, output, strict=True))
