"""Which colour a channel is shown in, unless the user says."""

from __future__ import annotations

BY_NAME = {
    "0000FF": ("dna", "dapi", "hoechst", "nuclei", "nucleus", "draq"),
    "00FF00": ("gfp", "fitc", "alexa488", "488", "er", "yfp"),
    "FF0000": ("cy5", "mito", "647", "640", "far red", "farred"),
    "FFA500": ("cy3", "tritc", "rfp", "mcherry", "561", "568", "594", "actin", "agp"),
}
BY_WAVELENGTH = ((490, "0000FF"), (550, "00FF00"), (620, "FFA500"), (2000, "FF0000"))  # emission below so many nm
IN_TURN = ("0000FF", "00FF00", "FF0000", "FF00FF", "00FFFF", "FFFF00")


def channel_colour(name: str, wavelength_nm: float | None, index: int) -> str:
    """RRGGBB for the channel at `index`: by its name, else its emission wavelength, else in turn."""
    lowered = name.lower()
    for colour, words in BY_NAME.items():
        if any(word in lowered for word in words if len(word) > 2) or lowered in words:
            return colour
    if wavelength_nm is not None:
        return next((colour for limit, colour in BY_WAVELENGTH if wavelength_nm < limit), IN_TURN[0])
    return IN_TURN[index % len(IN_TURN)]
