"""What the settings of a plate ask for and is not there: channels, weights, label images, restored images."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_lib.core.manifest import Manifest
from pipeline_lib.io.headers import RESTORES, SEGMENTS, channels_out
from pipeline_lib.io.weights import WeightsError, find_weights
from pipeline_lib.settings import Settings

USES = {RESTORES: "restores images", SEGMENTS: "finds objects"}


def plate_faults(manifest: Manifest, settings: Settings) -> Iterator[str]:
    """Everything of this kind, in words."""
    yield from _channels(manifest, settings)
    for label, weights in settings.segment.labels.weights().items():
        yield from _weights(f"segment.labels.{label}.weights", weights, SEGMENTS)
    for channel, weights in settings.restore.weights().items():
        yield from _weights(f"restore.channels.{channel}.weights", weights, RESTORES)
    yield from _restoration(settings)
    yield from _light(manifest, settings)


def _light(manifest: Manifest, settings: Settings) -> Iterator[str]:
    """Channels without a profile of the microscope's, where that is asked for."""
    lacking = [channel for channel in manifest.channels if channel not in manifest.profiles]
    if settings.ingest.illumination.method == "vendor" and lacking:
        yield (
            f"ingest.illumination.method: vendor is asked for, and the raw files have no profile of channel "
            f"{', '.join(lacking)}; allowed: estimated, none"
        )


def _channels(manifest: Manifest, settings: Settings) -> Iterator[str]:
    """Channels the settings speak of and the plate does not have."""
    names = [settings.ingest.channel_name(channel, manifest.channel_names) for channel in manifest.channels]
    users = {"segment.labels": settings.segment.labels.channel_names(), "restore.channels": settings.restore.channels}
    for user, wanted in users.items():
        for name in sorted(set(wanted) - set(names)):
            yield (
                f"{user} uses channel {name!r}; the plate has {', '.join(names)} "
                "(ingest.channels gives names to the ids in the raw files)"
            )
    for unknown in sorted(set(settings.ingest.channels) - set(manifest.channels)):
        yield f"ingest.channels names channel id {unknown!r}; the raw files have {', '.join(manifest.channels)}"
    if len(set(names)) < len(names):
        yield f"two channels have one name: {', '.join(names)}"


def _weights(key: str, weights: str, use: int) -> Iterator[str]:
    """A network that is not there, or is for something else."""
    try:
        found = channels_out(find_weights(weights))
    except WeightsError as error:
        yield f"{key}: {error}"
        return
    if found in USES and found != use:
        yield f"{key}: {weights} {USES[found]}; name a network here that {USES[use]}"


def _restoration(settings: Settings) -> Iterator[str]:
    """Restored images that nobody makes, and diameters that nobody tells."""
    readers = {"segment.images": settings.segment.images, "measure.images": settings.measure.images}
    for key, images in readers.items():
        if images == "restored" and not settings.restore.is_on:
            yield f"{key}: restored images are asked for, and restore.channels restores none; raw is allowed"
    networks = settings.segment.labels.networks()
    for channel, made in settings.restore.channels.items():
        if isinstance(made.diameter, str) and made.diameter not in networks:
            known = ", ".join(networks) or "none"
            yield (
                f"restore.channels.{channel}.diameter: {made.diameter} are not found by a network, so nobody tells "
                f"their diameter; those that are: {known}; or give pixels"
            )
