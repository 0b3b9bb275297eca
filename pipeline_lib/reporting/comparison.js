// A plot for each set of images: one curve for each network, which has the same colour everywhere.

const comparison = JSON.parse(document.getElementById("comparison-data").textContent);

/** Plotly reads some tags in texts, links among them; entities keep names from users literal. */
function literal(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function axis(title, parts = {}) {
  const look = { gridcolor: "#e6ebef", linecolor: "#9aa7b2", zeroline: false, ticks: "outside", automargin: true };
  return { title: { text: literal(title) }, ...look, ...parts };
}

function trace({ name, x, y }) {
  const color = comparison.colours[name];
  return {
    x, y, name: literal(name), mode: "lines+markers", line: { color, width: 2 }, marker: { color, size: 6 },
    hovertemplate: "%{y:.3f}",
  };
}

function drawPlot({ title, curves }) {
  const card = document.createElement("section");
  const heading = document.createElement("h2");
  const plot = document.createElement("div");
  card.className = "card";
  heading.textContent = title;
  plot.className = "plot";
  card.append(heading, plot);
  document.getElementById("plots").append(card);
  Plotly.newPlot(plot, curves.map(trace), {
    margin: { l: 56, r: 12, t: 16, b: 48 },
    font: { family: "system-ui, sans-serif", size: 12, color: "#17212b" },
    hovermode: "x unified",
    showlegend: true,
    legend: { orientation: "h", y: -0.24 },
    xaxis: axis(comparison.xLabel),
    yaxis: axis(comparison.yLabel, { range: [0, 1.02] }),
  }, { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] });
}

comparison.plots.forEach(drawPlot);
