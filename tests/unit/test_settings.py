"""Settings: frozen, closed, and aware of what changes a result."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from pipeline_lib.io.weights import find_weights, load_weights, shipped_models
from pipeline_lib.settings import (
    AggregateSettings,
    ChannelRestoration,
    GrowLabels,
    IngestSettings,
    LabelSettings,
    MeasureSettings,
    NetworkLabels,
    RestoreSettings,
    Section,
    SegmentSettings,
    Settings,
    sections,
)

SCHEDULING = {
    IngestSettings: {"wells_per_job": 1},
    SegmentSettings: {"wells_per_job": 1, "batch_size": 1, "device": "cuda:1"},
    MeasureSettings: {"wells_per_job": 1},
    RestoreSettings: {"wells_per_job": 1, "batch_size": 1, "device": "cuda:1", "keep": "temporary"},
}


def all_sections(section: type[Section] = Settings) -> set[type[Section]]:
    """A section and all below it."""
    inner = [s for field in section.model_fields.values() for s in sections(field.annotation)]
    return {section}.union(*(all_sections(s) for s in inner))


def test_every_section_is_found() -> None:
    assert {section.__name__ for section in all_sections()} == {
        "Settings", "IngestSettings", "ChannelSettings", "SegmentSettings", "LabelSettings", "NetworkLabels",
        "RestoreSettings", "ChannelRestoration", "GrowLabels", "MeasureSettings", "AggregateSettings",
        "ReportSettings", "TrainSettings", "TrainingSet", "AugmentSettings", "RestorationTrainSettings",
        "IlluminationSettings", "MontageSettings",
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted({*get_args(ChannelRestoration.model_fields["kind"].annotation)} - {"none"}))
def test_every_kind_of_restoration_has_a_shipped_network(kind: Any) -> None:
    named = ChannelRestoration(kind=kind).network
    assert named is not None
    assert named in shipped_models()
    shipped = load_weights(find_weights(named))
    assert (shipped.channels_in, shipped.channels_out, shipped.diam_mean) == (1, 1, 17)
    assert ChannelRestoration(kind=kind, weights="mine").network == "mine"
    assert ChannelRestoration(kind="none", weights="mine").network is None


@pytest.mark.parametrize("section", sorted(all_sections(), key=lambda section: section.__name__))
def test_sections_are_frozen_closed_and_explained(section: type[Section]) -> None:
    assert section.model_config["frozen"]
    assert section.model_config["extra"] == "forbid"
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description or name == "method" or sections(field.annotation), f"{section.__name__}.{name}"


@pytest.mark.parametrize("section", [SegmentSettings, MeasureSettings])
def test_a_field_that_came_later_is_not_there_until_it_is_used(section: type[Section]) -> None:
    """Plates that were made before it stay current."""
    plain, used = section(), section.model_validate({"images": "restored"})
    assert "images" not in {**plain.identity(), **plain.told(), **json.loads(plain.to_json())}
    assert used.identity()["images"] == used.told()["images"] == json.loads(used.to_json())["images"] == "restored"


def test_a_setting_cannot_be_changed_afterwards() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.results = "elsewhere"
    with pytest.raises(ValidationError, match="frozen"):
        settings.segment.labels.cytoplasm_gap = 3


def test_unknown_keys_are_errors_at_every_depth() -> None:
    config = {"segmnt": {}, "segment": {"labels": {"cells": {"method": "grow", "radius": 3}}}, "report": {"size": 3}}
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(config)
    found = {(error["type"], error["loc"]) for error in caught.value.errors()}
    assert found == {
        ("extra_forbidden", ("segmnt",)),
        ("extra_forbidden", ("segment", "labels", "cells", "grow", "radius")),
        ("extra_forbidden", ("report", "size")),
    }


@pytest.mark.parametrize("section", SCHEDULING)
def test_how_work_is_portioned_is_no_part_of_identity(section: type[Section]) -> None:
    changed = section.model_validate(SCHEDULING[section])
    assert changed != section()
    assert changed.identity() == section().identity()
    assert not set(SCHEDULING[section]) & set(changed.identity())


@pytest.mark.parametrize(
    ("section", "change"),
    [
        (IngestSettings, {"projection": "keep"}),
        (IngestSettings, {"channels": {"1": {"name": "DNA"}}}),
        (SegmentSettings, {"precision": "float32"}),
        (SegmentSettings, {"labels": {"cytoplasm_gap": 7}}),
        (SegmentSettings, {"labels": {"nuclei": {"diameter": 20}}}),
        (MeasureSettings, {"features": ["shape"]}),
        (AggregateSettings, {"dose": "µM"}),
    ],
)
def test_everything_else_is(section: type[Section], change: dict[str, Any]) -> None:
    assert section.model_validate(change).identity() != section().identity()


@pytest.mark.parametrize("section", [IngestSettings, SegmentSettings, MeasureSettings, AggregateSettings])
def test_settings_travel_as_json(section: type[Section]) -> None:
    text = section().to_json()
    assert "\n" not in text
    assert section.model_validate_json(text) == section()
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"segment": {"percentiles": [99, 1]}}, "99.0, 1.0 found; 0 <= low < high <= 100"),
        ({"segment": {"percentiles": [0, 101]}}, "0.0, 101.0 found"),
        ({"segment": {"labels": {"nuclei": None, "cells": None}}}, "name at least one label image"),
        ({"segment": {"labels": {"nuclei": None}}}, "method grow starts from nuclei"),
        ({"segment": {"labels": {"cytoplasm_gap": 3, "cytoplasm_reach": 3}}}, "leaves nothing beyond cytoplasm_gap 3"),
        ({"segment": {"labels": {"nuclei": {"channels": ["a", "b", "c"]}}}}, "at most 2 items"),
        ({"ingest": {"wells_per_job": 0}}, "greater than 0"),
        ({"ingest": {"channels": {"1": {"name": "DNA", "colour": "blue"}}}}, "match pattern"),
        ({"measure": {"features": ["colour"]}}, "'granularity'"),
    ],
)
def test_senseless_values_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        Settings.model_validate(config)


def test_which_label_images_networks_make_and_from_which_channels() -> None:
    default = LabelSettings()
    assert list(default.networks()) == ["nuclei"]
    assert default.channel_names() == {"DNA"}
    both = LabelSettings(cells=NetworkLabels(channels=("GFP", "DNA")))
    assert list(both.networks()) == ["nuclei", "cells"]
    assert both.channel_names() == {"DNA", "GFP"}
    guided = LabelSettings(nuclei=NetworkLabels(channels=("H",)), cells=GrowLabels(channel="Actin"))
    assert guided.channel_names() == {"H", "Actin"}


def test_a_channel_is_called_as_chosen_else_as_indexed_else_by_its_id() -> None:
    settings = IngestSettings.model_validate({"channels": {"1": {"name": "DNA"}}})
    assert settings.channel_name("1", {"1": "DAPI", "2": "FITC"}) == "DNA"
    assert settings.channel_name("2", {"1": "DAPI", "2": "FITC"}) == "FITC"
    assert settings.channel_name("3", {}) == "Channel3"
    assert settings.channel_name("GFP", {}) == "GFP"


def test_plate_map_columns_are_those_of_the_aggregate_section() -> None:
    columns = AggregateSettings(control="SBS", negative=("-1",), dose="uM").plate_map_columns()
    assert (columns.control, columns.negative, columns.positive) == ("SBS", ("-1",), ("positive",))
    assert (columns.dose, columns.compound) == ("uM", "compound")
    assert AggregateSettings().plate_map_columns() == type(columns)()
