"""Crops: they show what the image shows, turned and mirrored with their flows; chance comes from the step alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.flows.targets import flows_from_labels
from pipeline_lib.settings import AugmentSettings
from pipeline_lib.training.crops import Batch, Crops, Placement, _cut_out, cut_out, place
from pipeline_lib.training.examples import Example, TrainingImages, prepare

CPU = torch.device("cpu")
PLAIN = AugmentSettings(scale_range=0, contrast=0, noise=0, blur=0, inversion=0, drop_nuclei=0)


def ellipses(shape: tuple[int, int] = (96, 96)) -> NDArray[np.uint32]:
    """Four ellipses that touch nothing."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.uint32)
    for number, (row, column) in enumerate([(24, 26), (26, 70), (70, 24), (68, 70)], 1):
        labels[((y - row) / 18) ** 2 + ((x - column) / 12) ** 2 < 1] = number
    return labels


@pytest.fixture(scope="module")
def example() -> Example:
    rng = np.random.default_rng(0)
    return prepare(Labelled("a", rng.uniform(10, 900, (2, 96, 96)), ellipses()), CPU)


def cut(example: Example, placed: Placement, size: int) -> Batch:
    """The crop of one image, without N."""
    return Batch(*(part[0] for part in cut_out([example], [placed], size)))


def test_a_crop_where_the_image_is_shows_the_image(example: Example) -> None:
    crop = cut(example, Placement((47.5, 47.5), np.eye(2)), 96)
    torch.testing.assert_close(crop.images, example.image.float(), atol=2e-4, rtol=0)
    torch.testing.assert_close(crop.flows, example.flow.float(), atol=2e-4, rtol=0)
    assert torch.equal(crop.inside, example.inside.float())


def test_a_quarter_turn_turns_image_and_flow(example: Example) -> None:
    crop = cut(example, Placement((47.5, 47.5), np.array([[0.0, 1.0], [-1.0, 0.0]])), 96)  # y' = x, x' = -y
    turned = torch.rot90(example.image.float(), 1, (1, 2))
    flow = torch.rot90(example.flow.float(), 1, (1, 2))
    torch.testing.assert_close(crop.images, turned, atol=2e-4, rtol=0)
    torch.testing.assert_close(crop.flows, torch.stack([-flow[1], flow[0]]), atol=2e-4, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.8, 1.6))
def test_flows_of_a_crop_are_the_flows_of_its_objects(seed: int, scale: float) -> None:
    """The specification's own figure: cosine 0.96 to 0.997 against flows made anew from the turned labels."""
    labels = ellipses()
    example = prepare(Labelled("a", np.stack([labels, labels]), labels), CPU)
    placed = place((96, 96), 144, scale, np.random.default_rng(seed))
    crop = cut(example, placed, 144)
    marked = replace(example, image=torch.from_numpy(np.stack([labels == n for n in (1, 2, 3, 4)])).half())
    shown = [cut(replace(marked, image=marked.image[[n, n]]), placed, 144).images[0] > 0.5 for n in range(4)]
    turned = sum(number * part.numpy().astype(np.uint32) for number, part in enumerate(shown, 1))
    anew = flows_from_labels(np.asarray(turned, np.uint32))
    inside = (np.asarray(turned) > 0) & (crop.inside.numpy() > 0) & _within(placed, 96, 144)
    cosine = (anew * crop.flows.numpy()).sum(0)[inside]
    assert cosine.mean() > 0.93


def _within(placed: Placement, length: int, size: int) -> NDArray[np.bool_]:
    """Pixels of a crop whose objects were not cut by the image's border: those well inside the image."""
    steps = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(steps, steps, indexing="ij")
    where = [placed.matrix[i, 0] * y + placed.matrix[i, 1] * x + placed.middle[i] for i in (0, 1)]
    return np.all([(w > 4) & (w < length - 5) for w in where], axis=0)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), scale=st.floats(0.2, 4), shape=st.tuples(st.integers(1, 300), st.integers(1, 300))
)
def test_crops_lie_within_the_image_as_far_as_there_is_room(seed: int, scale: float, shape: tuple[int, int]) -> None:
    placed = place(shape, 64, scale, np.random.default_rng(seed))
    assert abs(np.linalg.det(placed.matrix)) == pytest.approx(scale**-2)
    np.testing.assert_allclose(placed.matrix @ placed.matrix.T, np.eye(2) / scale**2, atol=1e-9)
    for middle, length in zip(placed.middle, shape, strict=True):
        slack = max(0.0, length - 64 / scale) / 2
        assert abs(middle - (length - 1) / 2) <= slack + 1e-9


def test_there_is_nothing_beyond_the_image(example: Example) -> None:
    crop = cut(example, Placement((47.5, 47.5), np.eye(2)), 128)
    beyond = torch.ones(128, 128, dtype=torch.bool)
    beyond[16:112, 16:112] = False
    assert all(float(part[..., beyond].abs().max()) < 1e-3 for part in crop)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4),
)
def test_crops_cut_at_once_are_those_cut_one_by_one(seed: int, shapes: list[tuple[int, int]]) -> None:
    """As a GPU and as a processor does it."""
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, 2, shape).astype(np.uint32) for shape in shapes]
    examples = [prepare(Labelled("a", rng.normal(size=(2, *one.shape)), one), CPU) for one in labels]
    placed = [place(shape, 32, rng.uniform(0.3, 3), rng) for shape in shapes]
    together, alone = _cut_out(examples, placed, 32), cut_out(examples, placed, 32)
    torch.testing.assert_close(together[:2], alone[:2], atol=2e-3, rtol=0)
    assert float((together.inside != alone.inside).float().mean()) < 0.005, "half way between pixels, either is nearest"


def crops(example: Example, augment: AugmentSettings, seed: int = 0) -> Crops:
    return Crops([TrainingImages("set", [example])], example.diameter, seed, augment)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_step_and_a_seed_say_what_is_drawn(example: Example) -> None:
    stream = crops(example, AugmentSettings())
    again = crops(example, AugmentSettings())
    later = again.batch(7, 3, 48)
    assert same(stream.batch(3, 3, 48), again.batch(3, 3, 48)) and same(stream.batch(7, 3, 48), later)
    assert not same(stream.batch(3, 3, 48), later)
    assert not same(crops(example, AugmentSettings(), seed=1).batch(3, 3, 48), stream.batch(3, 3, 48))


def test_objects_are_brought_to_the_networks_size() -> None:
    labels = ellipses()
    small = prepare(Labelled("a", np.stack([labels, labels]), labels), CPU)
    whole = Crops([TrainingImages("set", [small])], 2 * small.diameter, 0, PLAIN).batch(0, 4, 256)
    covered = float(whole.inside.sum()) / 4
    assert covered == pytest.approx(4 * float(small.inside.sum()), rel=0.02)


def test_without_variation_a_crop_is_the_image(example: Example) -> None:
    batch = crops(example, PLAIN).batch(0, 2, 64)
    assert float(batch.images.max()) <= float(example.image.max()) + 1e-3
    assert float(batch.images.min()) >= min(0.0, float(example.image.min())) - 1e-3


@pytest.mark.parametrize("name", ["contrast", "noise", "blur", "inversion", "drop_nuclei"])
def test_each_variation_changes_the_picture_and_nothing_else(example: Example, name: str) -> None:
    plain = crops(example, PLAIN).batch(0, 2, 64)
    varied = crops(example, PLAIN.model_copy(update={name: 1.0})).batch(0, 2, 64)
    assert torch.equal(plain.flows, varied.flows) and torch.equal(plain.inside, varied.inside)
    assert not torch.equal(
        plain.images[:, 1 if name == "drop_nuclei" else 0], varied.images[:, 1 if name == "drop_nuclei" else 0]
    )


def test_inverted_images_are_one_minus_themselves(example: Example) -> None:
    plain = crops(example, PLAIN).batch(0, 1, 32).images
    inverted = crops(example, PLAIN.model_copy(update={"inversion": 1.0})).batch(0, 1, 32).images
    torch.testing.assert_close(inverted[:, 0], 1 - plain[:, 0])
    assert torch.equal(inverted[:, 1], plain[:, 1])


def test_blur_keeps_what_is_level_and_noise_leaves_empty_channels_alone() -> None:
    labels = np.ones((64, 64), np.uint32)
    level = replace(
        prepare(Labelled("a", np.stack([labels, labels]), labels), CPU),
        image=torch.stack([torch.full((64, 64), 0.5), torch.zeros(64, 64)]).half(),
    )
    stream = Crops([TrainingImages("s", [level])], level.diameter, 0, PLAIN.model_copy(update={"blur": 1.0}))
    blurred = stream.batch(0, 2, 16).images
    torch.testing.assert_close(blurred[:, 0], torch.full((2, 16, 16), 0.5), atol=1e-3, rtol=0)
    noisy = Crops([TrainingImages("s", [level])], 30.0, 0, AugmentSettings(noise=1, contrast=1)).batch(0, 2, 32).images
    assert not noisy[:, 1].any()


def test_images_without_objects_are_shown_at_the_size_their_set_expects() -> None:
    nothing = prepare(
        Labelled("a", np.random.default_rng(0).normal(size=(2, 64, 64)), np.zeros((64, 64), np.uint32)), CPU
    )
    assert math.isnan(nothing.diameter)
    told = Crops([TrainingImages("s", [nothing], diameter=60.0)], 30.0, 0, PLAIN).batch(0, 1, 64).images
    assert float((told[0, 0] != 0).sum()) == pytest.approx(32 * 32, rel=0.15)
    untold = Crops([TrainingImages("s", [nothing])], 30.0, 0, PLAIN).batch(0, 1, 32).images
    assert bool((untold[0, 0] != 0).all())
