"""One self-contained HTML page that shows networks side by side: a plot for each set of images, and a table."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

import pandas as pd
from plotly.offline import get_plotlyjs

from pipeline_lib.reporting.curves import COLOURS
from pipeline_lib.reporting.page import digest, json_for_html, normal_newlines, plain, resource

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Comparison:
    """Everything the page shows.

    Attributes:
        title: Of the page.
        plots: Title of a plot -> its curves: name -> x and y. A name has one colour in all plots.
        x_label: What x means.
        y_label: What y means, 0..1.
        table: With the heads to be shown; texts first, then numbers.
        provenance: Nested mappings, lists and plain values.
    """

    title: str
    plots: Mapping[str, Curves]
    x_label: str
    y_label: str
    table: pd.DataFrame
    provenance: Mapping[str, object]


def render_comparison(data: Comparison) -> str:
    """Return the page as one HTML document, to be stored as UTF-8. It opens offline; all names are shown as text."""
    plotly, program = normal_newlines(get_plotlyjs()), normal_newlines(resource("comparison.js"))
    shown = data.table.to_html(
        index=False, border=0, classes="grid", na_rep="\N{EN DASH}", float_format="{:.3f}".format
    )
    return Template(resource("comparison.html")).substitute(
        title=html.escape(data.title),
        style=resource("report.css"),
        digests=" ".join(digest(script) for script in (plotly, program)),
        table=shown,
        texts=f"n + {1 + sum(not pd.api.types.is_numeric_dtype(kind) for kind in data.table.dtypes)}",
        provenance=html.escape(json.dumps(plain(data.provenance), indent=2, ensure_ascii=False)),
        data=json_for_html(_payload(data)),
        plotly=plotly,
        program=program,
    )


def _payload(data: Comparison) -> dict[str, object]:
    """Return what `comparison.js` reads."""
    names = list(dict.fromkeys(name for curves in data.plots.values() for name in curves))
    return {
        "xLabel": data.x_label,
        "yLabel": data.y_label,
        "colours": {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)},
        "plots": [
            {
                "title": title,
                "curves": [{"name": name, "x": plain(x), "y": plain(y)} for name, (x, y) in curves.items()],
            }
            for title, curves in data.plots.items()
        ],
    }
