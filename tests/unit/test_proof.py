"""Damage, filters, best settings, bootstrap and the bars, on numbers made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.evaluation import Contender
from pipeline_lib.proof.filters import FILTERS, noise_of
from pipeline_lib.proof.judging import COLUMNS, judge, nothing
from pipeline_lib.proof.levels import CLEAN, LEVELS, Case, case_of, damaged
from pipeline_lib.proof.verdicts import at_best, interval, summarise, verdicts


def squares(side: int = 64) -> Labelled:
    labels = np.zeros((side, side), np.uint32)
    for number, (y, x) in enumerate(((8, 8), (8, 36), (36, 8), (36, 36)), 1):
        labels[y : y + 16, x : x + 16] = number
    image = np.stack([100 + 50 * (labels > 0), np.zeros_like(labels)])
    return Labelled("a", image, labels)


@pytest.fixture(scope="module")
def case() -> Case:
    found = case_of("s", squares())
    assert found
    return found


def test_a_case_is_the_middle_of_an_image() -> None:
    found = case_of("s", squares(), 40)
    assert found
    assert found.clean.shape == found.labels.shape == (40, 40)
    assert (found.clean.min(), found.clean.max()) == (0, 1)
    assert found.diameter == pytest.approx(2 * np.sqrt(16 * 16 / np.pi)), "of whole objects"
    assert case_of("s", squares(), 8) is None, "no object is there"


@pytest.mark.parametrize("level", LEVELS)
def test_damage_is_the_same_for_the_same_seed(case: Case, level: str) -> None:
    once, again = damaged(case, level, 1), damaged(case, level, 1)
    assert once.dtype == np.float32
    assert once.shape == case.clean.shape
    assert np.array_equal(once, again)
    assert np.array_equal(once, damaged(case, level, 2)) == (level == CLEAN)
    if level != CLEAN:
        assert np.allclose(np.percentile(once, (1, 99)), (0, 1), atol=1e-4)
        assert np.abs(once - case.clean).mean() > 0.01


def test_damage_of_a_kind_grows(case: Case) -> None:
    for kind in {level.kind for level in LEVELS.values()}:
        off = [
            np.corrcoef(damaged(case, name, 1).ravel(), case.clean.ravel())[0, 1]
            for name, level in LEVELS.items()
            if level.kind == kind
        ]
        assert off == sorted(off, reverse=True)


def test_the_noise_of_an_image_is_found() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 200, dtype=np.float32)
    image = ramp[:, None] + rng.normal(0, 0.1, (200, 200)).astype(np.float32)
    assert noise_of(image) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("method", FILTERS)
def test_filters_bring_images_nearer_to_clean_ones(case: Case, method: str) -> None:
    noisy = damaged(case, "noise 4", 1)
    restores = (nothing, *FILTERS[method].values())
    alike = [np.corrcoef(restore(noisy, case.diameter).ravel(), case.clean.ravel())[0, 1] for restore in restores]
    assert max(alike[1:]) > alike[0] + 0.05
    assert {restore(noisy, case.diameter).dtype for restore in FILTERS[method].values()} == {np.dtype(np.float32)}


def test_each_setting_of_each_method_is_judged(case: Case) -> None:
    def segment(image: Any, diameter: float | None) -> Any:
        assert image.shape == (2, 64, 64)
        assert not image[1].any(), "the first channel alone"
        return np.where(image[0] > 0, case.labels, 0), diameter

    methods = {"degraded": {"-": nothing}, "halved": {"top": lambda image, _: image * (np.arange(64) < 32)[:, None]}}
    rows = list(judge(case, CLEAN, methods, Contender(segment, 17.0), 1))
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert [row["ap_0.50"] for row in rows] == [1, 0.5]
    assert rows[1]["setting"] == "top"
    assert rows[0]["diameter"] == case.diameter


def test_the_interval_of_the_bootstrap() -> None:
    assert interval([0.25] * 5) == (0.25, 0.25)
    low, high = interval(np.repeat([0.0, 1.0], 50))
    half = 1.96 * 0.5 / np.sqrt(100)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.015)
    assert interval([0.0, 1.0, 3.0]) == interval([0.0, 1.0, 3.0])


def table(*lines: tuple[str, str, str, tuple[float, ...]]) -> pd.DataFrame:
    """Level, method, setting and the AP of each image."""
    rows = [
        ("s", f"{number}", level, method, setting, 10.0, ap, ap / 2, 0.0)
        for level, method, setting, aps in lines
        for number, ap in enumerate(aps)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


ROWS = table(
    ("clean", "degraded", "-", (0.8, 0.6)),
    ("clean", "gaussian", "1", (0.8, 0.6)),
    ("clean", "net", "-", (0.77, 0.6)),
    ("noise 4", "degraded", "-", (0.5, 0.5)),
    ("noise 4", "gaussian", "1", (0.5, 0.5)),
    ("noise 4", "net", "-", (0.6, 0.6)),
    ("noise 2", "degraded", "-", (0.3, 0.1)),
    ("noise 2", "gaussian", "1", (0.4, 0.1)),
    ("noise 2", "gaussian", "2", (0.3, 0.3)),
    ("noise 2", "median", "1", (0.4, 0.0)),
    ("noise 2", "net", "-", (0.5, 0.4)),
    ("blur 4", "degraded", "-", (0.7, 0.5)),
    ("blur 4", "gaussian", "1", (0.6, 0.4)),
    ("blur 4", "net", "-", (0.7, 0.5)),
)


def test_the_best_setting_is_that_of_the_highest_mean() -> None:
    best = at_best(ROWS)
    assert set(best.loc[(best["level"] == "noise 2") & (best["method"] == "gaussian"), "setting"]) == {"2"}
    assert len(best) == len(ROWS) - 2


def test_a_summary_by_hand() -> None:
    summary = summarise(ROWS, ["net"]).set_index(["level", "method"])
    net = summary.loc[("noise 2", "net")]
    assert net["ap_0.50"] == pytest.approx(0.45)
    assert net["ap_0.75"] == pytest.approx(0.225)
    assert net["ratio"] == pytest.approx(0.45 / 0.2)
    assert (net["rival"], net["kind"], net["images"]) == ("gaussian", "noise", 2)
    assert net["difference"] == pytest.approx(0.15)
    assert (net["low"], net["high"]) == pytest.approx((0.1, 0.2)), "of two images, either may be drawn twice"
    assert summary.loc[("noise 2", "gaussian"), "setting"] == "2"
    heavy = summary["heavy"].groupby("level").max().to_dict()
    assert heavy == {"clean": 0, "noise 4": 0, "noise 2": 2, "blur 4": 0}, "0.3 and 0.1 are at most half of 0.8 and 0.6"


def test_the_bars_by_hand() -> None:
    found = verdicts(ROWS, ["net"]).set_index("kind")
    assert list(found.index) == ["noise", "blur", "(all)"]
    noise = found.loc["noise"]
    assert (noise["levels"], noise["images"]) == ("noise 2", 2)
    assert (noise["degraded"], noise["restored"], noise["ratio"]) == pytest.approx((0.2, 0.45, 2.25))
    assert [noise[bar] for bar in ("gains", "wins", "spares")] == [True, True, True]
    assert (noise["clean"], noise["clean_restored"]) == pytest.approx((0.7, 0.685))
    assert (found.loc["blur", "levels"], found.loc["blur", "images"]) == ("", 0)
    assert found.loc["blur", "gains"] is None
    assert np.isnan(found.loc["blur", "ratio"])


def test_bars_are_for_heavily_degraded_images_alone() -> None:
    """Of the first image half is left, of the second more: neither it nor its best setting counts."""
    light = ROWS.copy()
    light.loc[(light["method"] == "degraded") & (light["level"] == "noise 2"), "ap_0.50"] = [0.4, 0.31]
    found = verdicts(light, ["net"]).set_index("kind").loc["noise"]
    assert (found["levels"], found["images"]) == ("noise 2", 1)
    assert (found["degraded"], found["restored"]) == pytest.approx((0.4, 0.5))
    assert found["difference"] == pytest.approx(0.5 - 0.4), "gaussian 1 is best there, gaussian 2 over all"
    light.loc[light["level"] == "clean", "ap_0.50"] = 0.0
    assert set(verdicts(light, ["net"])["images"]) == {0}, "what is not found in a clean image, damage does not hide"


def test_bars_that_are_missed() -> None:
    weak = ROWS.copy()
    weak.loc[(weak["method"] == "net") & (weak["level"] == "noise 2"), "ap_0.50"] = [0.35, 0.25]
    weak.loc[(weak["method"] == "net") & (weak["level"] == "clean"), "ap_0.50"] = [0.75, 0.6]
    found = verdicts(weak, ["net"]).set_index("kind").loc["noise"]
    assert [found[bar] for bar in ("gains", "wins", "spares")] == [False, False, False]


def test_without_rivals_nothing_is_won() -> None:
    alone = ROWS[~ROWS["method"].isin(["gaussian", "median"])]
    found = verdicts(alone, ["net"]).set_index("kind").loc["noise"]
    assert found["gains"]
    assert found["wins"] is None


def test_ap_of_nothing() -> None:
    none = ROWS.copy()
    none.loc[(none["method"] == "degraded") & (none["level"] == "noise 2"), "ap_0.50"] = 0.0
    assert verdicts(none, ["net"]).set_index("kind").loc["noise", "ratio"] == np.inf


def test_methods_have_to_see_the_same_images() -> None:
    with pytest.raises(ValueError, match=r"noise 2: methods saw different images.*median 1"):
        summarise(ROWS[~((ROWS["method"] == "median") & (ROWS["image"] == "1"))], ["net"])
    with pytest.raises(ValueError, match=r"(?s)no row tells of degraded.*no row tells of clean"):
        verdicts(ROWS[(ROWS["level"] == "noise 2") & (ROWS["method"] != "degraded")], ["net"])
