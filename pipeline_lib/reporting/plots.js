// The two plots of the chosen feature: against dose, and by role.

// Okabe and Ito's colours for the colour-blind; the controls keep two of them for themselves.
const ROLE_COLOURS = { positive: "#d55e00", negative: "#0072b2" };
const COMPOUND_COLOURS = ["#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f4fc9", "#8c6d31", "#4d9221"];
const COMPOUND_SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down"];
const PLOT_SETTINGS = {
  responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

function drawPlots() {
  if (state.feature === null) return;
  drawRoles();
  if (!byId("dose-section").hidden) drawDoses();
}

function drawPlot(id, traces, layout) {
  const plot = byId(id);
  const isNew = !plot.layout;
  Plotly.react(plot, traces, {
    margin: { l: 64, r: 12, t: 28, b: 48 },
    font: { family: "system-ui, sans-serif", size: 12, color: "#17212b" },
    hovermode: "closest",
    ...layout,
  }, PLOT_SETTINGS);
  if (isNew) plot.on("plotly_click", ({ points: [point] }) => selectWell(point.customdata));
}

function plotAxis(title, parts = {}) {
  const look = { gridcolor: "#e6ebef", linecolor: "#9aa7b2", zeroline: false, ticks: "outside", automargin: true };
  return { title: { text: title }, ...look, ...parts };
}

/** Plotly reads some tags in texts, links among them; entities keep names from users literal. */
function literal(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Wells that a logarithmic dose axis can show, as [well, compound, dose]; controls are drawn as bands. */
function dosedWells() {
  return report.wells
    .map(({ well }) => [well, metadata(well, "Compound") ?? "no name", Number(metadata(well, "Dose"))])
    .filter(([well, , dose]) => Number.isFinite(dose) && dose > 0 && !(roleOf(well) in ROLE_MARKS));
}

function dosedCompounds() {
  return distinct(dosedWells().map(([, compound]) => compound)).sort();
}

/** Offers all compounds at once as long as each has its own colour. */
function buildDoseControls() {
  const compounds = dosedCompounds();
  const select = byId("compound-select");
  const all = compounds.length <= COMPOUND_COLOURS.length;
  byId("dose-section").hidden = compounds.length === 0;
  select.append(...(all ? [element("option", { value: -1 }, "all")] : []));
  select.append(...compounds.map((name, index) => element("option", { value: index }, name)));
  select.addEventListener("change", () => show({ compound: compounds[select.value] ?? null }));
  state.compound = all ? null : compounds[0];
}

function drawDoses() {
  const wells = dosedWells().filter(([well]) => valueOf(well) !== null);
  const shown = (compound) => state.compound === null || state.compound === compound;
  const traces = dosedCompounds().flatMap((compound, index) =>
    shown(compound) ? doseTraces(compound, wells.filter(([, name]) => name === compound), index) : []);
  const bands = Object.keys(ROLE_COLOURS).map(controlBand).filter((band) => band !== null);
  drawPlot("dose-plot", [...traces, ...bands.map((band) => band.legend)], {
    xaxis: plotAxis("Dose", { type: "log", dtick: 1, tickformat: "~g", minor: { ticks: "outside", dtick: "D1" } }),
    yaxis: plotAxis(literal(readable(state.feature))),
    legend: { itemsizing: "constant" },
    showlegend: true,
    shapes: bands.flatMap((band) => band.shapes),
  });
}

/** The wells of one compound as points, and a line through the mean at each dose. */
function doseTraces(compound, wells, index) {
  const doses = distinct(wells.map(([, , dose]) => dose));
  const meanAt = (dose) => mean(wells.filter(([, , other]) => other === dose).map(([well]) => valueOf(well)));
  const color = COMPOUND_COLOURS[index % COMPOUND_COLOURS.length];
  const symbol = COMPOUND_SYMBOLS[index % COMPOUND_SYMBOLS.length];
  const name = literal(compound);
  const line = {
    x: doses, y: doses.map(meanAt), mode: "lines", line: { color, width: 2 }, hoverinfo: "skip", showlegend: false,
  };
  const points = {
    x: wells.map(([, , dose]) => dose), y: wells.map(([well]) => valueOf(well)),
    customdata: wells.map(([well]) => well), mode: "markers", marker: { color, symbol, size: 8, opacity: 0.7 },
    hovertemplate: "<b>%{customdata}</b> %{fullData.name}<br>dose %{x:.4~g}<br>%{y:.4~g}<extra></extra>",
  };
  return [line, points].map((trace) => ({ ...trace, name, legendgroup: `compound ${index}` }));
}

/** A band of one standard deviation around a control's mean, and its entry in the legend. */
function controlBand(role) {
  const values = knownWells().filter((well) => roleOf(well) === role).map(valueOf);
  if (values.length === 0) return null;
  const [centre, around, color] = [mean(values), deviation(values), ROLE_COLOURS[role]];
  const across = { xref: "paper", x0: 0, x1: 1, layer: "below" };
  const limits = { y0: centre - around, y1: centre + around };
  const band = { type: "rect", ...limits, fillcolor: color, opacity: 0.15, line: { width: 0 } };
  const middle = { type: "line", y0: centre, y1: centre, line: { color, width: 1.5, dash: "dash" } };
  return {
    shapes: [{ ...across, ...band }, { ...across, ...middle }],
    legend: {
      x: [null], y: [null], mode: "lines", line: { color, dash: "dash" }, name: `${role} control,<br>mean ± SD`,
    },
  };
}

/** The wells of each role side by side, so that the gap between the controls is seen at once. */
function drawRoles() {
  const labelled = knownWells().map((well) => [well, String(metadata(well, "Role") ?? "no role")]);
  const roles = distinct(labelled.map(([, role]) => role)).sort();
  const traces = roles.map((role) => roleTrace(role, labelled.filter(([, other]) => other === role)));
  const axes = { xaxis: plotAxis(""), yaxis: plotAxis(literal(readable(state.feature))) };
  drawPlot("role-plot", traces, { ...axes, showlegend: false });
}

function roleTrace(role, members) {
  const color = ROLE_COLOURS[role.toLowerCase()] ?? "#5b6770";
  const wells = members.map(([well]) => well);
  return {
    type: "box", name: `${literal(role)} (${wells.length})`, y: wells.map(valueOf), customdata: wells,
    boxpoints: "all", jitter: 0.6, pointpos: 0, fillcolor: "rgba(0,0,0,0)", line: { color, width: 1.2 },
    marker: { color, size: 6, opacity: 0.6 }, hoveron: "points",
    hovertemplate: "<b>%{customdata}</b><br>%{y:.4~g}<extra></extra>",
  };
}
