"""Networks compared on made-up images, without a network: what is asked of them, and the numbers in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.evaluation import ALL_KINDS, Contender, compare, summarise

SQUARES = ((2, 2), (2, 20), (20, 2), (20, 20))


def labelled(name: str, squares: int, kind: str = "", side: int = 10) -> Labelled:
    """An image in which every object has its own intensity, its number."""
    labels = np.zeros((40, 40), np.uint32)
    for number, (y, x) in enumerate(SQUARES[:squares], 1):
        labels[y : y + side, x : x + side] = number
    return Labelled(name, np.stack([labels, np.zeros_like(labels)]).astype(np.float32), labels, kind)


class Fake:
    """A network that reads objects off the image, without those of higher numbers than `most`."""

    def __init__(self, most: int = 9) -> None:
        self.most = most
        self.asked: list[float | None] = []

    def __call__(self, image: NDArray[Any], diameter: float | None) -> tuple[NDArray[np.uint32], float]:
        self.asked.append(diameter)
        labels = image[0].astype(np.uint32)
        return np.where(labels <= self.most, labels, 0), diameter or 11.0


def contender(fake: Fake) -> Contender:
    return Contender(fake, 30.0)


def test_rows_by_hand() -> None:
    sets = [("mine", [labelled("a", 4), labelled("b", 1)]), ("theirs", [labelled("a", 2)])]
    table = compare(sets, {"good": contender(Fake()), "bad": contender(Fake(most=1))})
    assert list(table["set"]) == ["mine"] * 4 + ["theirs"] * 2
    assert list(table["name"]) == ["a", "a", "b", "b", "a", "a"]
    assert list(table["weights"]) == ["good", "bad"] * 3
    assert list(table["n_true"]) == [4, 4, 1, 1, 2, 2]
    assert list(table["n_pred"]) == [4, 1, 1, 1, 2, 1]
    assert list(table["ap_0.50"]) == list(table["ap_0.95"]) == [1, 0.25, 1, 1, 1, 0.5]
    assert list(table["tp_0.50"]) == [4, 1, 1, 1, 2, 1]
    assert list(table["error_0.75"]) == [0, 0.75, 0, 0, 0, 0.5]
    assert list(table["aji"]) == [1, 0.25, 1, 1, 1, 0.5]
    assert table["boundary_f"].iloc[1] == pytest.approx(0.4)  # precision 1, recall a quarter


@pytest.mark.parametrize(
    ("diameter", "asked"),
    [
        ("estimate", [None, None, None]),
        (17.5, [17.5, 17.5, 17.5]),
        ("true", [pytest.approx(20 / np.sqrt(np.pi)), 5.0, 30.0]),
    ],
)
def test_diameters(diameter: Any, asked: list[Any]) -> None:
    """The true one is at least 5 pixels; without objects it is that of the network."""
    fake = Fake()
    images = [labelled("large", 3), labelled("small", 2, side=2), labelled("none", 0)]
    table = compare([("s", images)], {"w": contender(fake)}, diameter)
    assert fake.asked == asked
    assert list(table["diameter"]) == [number or 11.0 for number in fake.asked]


def test_images_without_objects() -> None:
    table = compare([("s", [labelled("none", 0)])], {"w": contender(Fake())})
    assert table[["ap_0.50", "aji", "boundary_f"]].to_numpy().tolist() == [[1, 1, 1]]
    assert np.isnan(table["error_0.50"]).all()


def test_an_image_is_read_once_and_when_it_is_needed() -> None:
    seen: list[str] = []

    def images() -> Iterator[Labelled]:
        for name in "ab":
            seen.append(f"read {name}")
            yield labelled(name, 1)

    class Noted(Fake):
        def __call__(self, image: NDArray[Any], diameter: float | None) -> tuple[NDArray[np.uint32], float]:
            seen.append("segment")
            return super().__call__(image, diameter)

    both = {"one": contender(Noted()), "two": contender(Noted())}
    compare([("s", images())], both)
    assert seen == ["read a", "segment", "segment", "read b", "segment", "segment"]


def test_faults_name_the_image() -> None:
    def broken(image: NDArray[Any], diameter: float | None) -> tuple[NDArray[np.uint32], float]:
        raise ValueError("values that are not finite")

    with pytest.raises(ValueError, match=r"set s, image a, weights w: values"):
        compare([("s", [labelled("a", 1)])], {"w": Contender(broken, 30.0)})
    with pytest.raises(ValueError, match="set s has no images"):
        compare([("s", [])], {"w": contender(Fake())})


def test_summary_by_hand() -> None:
    sets = [
        ("plain", [labelled("a", 4), labelled("b", 2), labelled("c", 0)]),
        ("mixed", [labelled("a", 2, "phase"), labelled("b", 1, "fluo"), labelled("c", 4, "phase")]),
    ]
    summary = summarise(compare(sets, {"good": contender(Fake()), "bad": contender(Fake(most=1))}))
    assert list(summary["set"]) == ["plain"] * 2 + ["mixed"] * 6
    assert list(summary["kind"]) == ["", "", ALL_KINDS, ALL_KINDS, "phase", "phase", "fluo", "fluo"]
    assert list(summary["weights"]) == ["good", "bad"] * 4
    bad = summary[summary["weights"] == "bad"].set_index(["set", "kind"])
    assert list(bad["images"]) == [3, 3, 2, 1]
    assert list(bad["n_true"]) == [6, 7, 6, 1]
    assert list(bad["n_pred"]) == [2, 3, 2, 1]
    assert bad.loc[("plain", ""), "ap_0.50"] == pytest.approx((1 / 4 + 1 / 2 + 1) / 3)
    assert bad.loc[("plain", ""), "ap_mean"] == pytest.approx((1 / 4 + 1 / 2 + 1) / 3)
    assert bad.loc[("plain", ""), "error_0.50"] == pytest.approx((3 / 4 + 1 / 2) / 2), "undefined without true objects"
    assert list(bad["pooled_error_0.90"]) == pytest.approx([4 / 6, 4 / 7, 4 / 6, 0])
    good = summary[summary["weights"] == "good"]
    assert (good[["ap_0.50", "ap_mean", "aji", "boundary_f"]] == 1).all(axis=None)


def test_summary_of_images_without_objects() -> None:
    summary = summarise(compare([("s", [labelled("none", 0)])], {"w": contender(Fake())}))
    assert pd.isna(summary["pooled_error_0.50"]).all()
    assert list(summary["ap_mean"]) == [1]
