"""Images from Python: load a network once, then hand it images to segment or to restore.

    from pipeline_lib.api import ImageSettings, load_network, segment_image

    network = load_network("wellpose-1")
    labels = segment_image(network, image, ImageSettings(diameter=17))

Images are arrays with channels first, of any real number type; label images are uint32, 0 for the background and 1..n
for the objects. Nothing is written but the targets of `segment_large` and `restore_large`, and no argument is changed.
"""

from pipeline_lib.api.restoration import (
    RestoreSettings,
    load_restorer,
    restore_image,
    restore_large,
    restored_like,
)
from pipeline_lib.api.segmentation import (
    ImageSettings,
    find_diameter,
    find_flows,
    load_network,
    segment_image,
    segment_images,
    segment_large,
    segment_planes,
    segment_volume,
)
from pipeline_lib.arrays.normalise import NormaliseSettings
from pipeline_lib.flows.blocked import Report
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.restoration import Restorer
from pipeline_lib.segmentation import Network
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.volumes import VolumeSettings

__all__ = [
    "ImageSettings",
    "MaskSettings",
    "Network",
    "NormaliseSettings",
    "Report",
    "RestoreSettings",
    "Restorer",
    "RunSettings",
    "VolumeSettings",
    "find_diameter",
    "find_flows",
    "load_network",
    "load_restorer",
    "restore_image",
    "restore_large",
    "restored_like",
    "segment_image",
    "segment_images",
    "segment_large",
    "segment_planes",
    "segment_volume",
]
