// The page as a whole: what is built once, and what is redrawn when the reader chooses.

/** Applies a change of state and redraws what depends on it. */
function show(change) {
  Object.assign(state, change);
  if ("feature" in change) drawFeatureChoice();
  drawHeatmap();
  drawWell();
  if (["feature", "time", "compound"].some((name) => name in change)) drawPlots();
}

function buildHeadline() {
  const figure = ({ label, value, detail, tone }) => element("div", { class: tone, title: detail },
    element("dt", {}, label),
    element("dd", { class: "figure" }, value),
    element("dd", { class: "detail" }, detail));
  byId("headline").append(...report.headline.map(figure));
}

function buildNotes() {
  byId("notes").hidden = report.notes.length === 0;
  byId("notes").append(...report.notes.map((note) => element("li", {}, note)));
}

function buildLight() {
  byId("light").hidden = report.light.length === 0;
  byId("light-pictures").append(...report.light.map(({ channel, picture, told }) => element("figure", {},
    element("img", { src: picture, alt: `Flat field of ${channel}` }),
    element("figcaption", {}, `${channel}: ${told}`))));
}

buildHeadline();
buildNotes();
buildLight();
buildHeatmap();
buildLegend();
buildControls();
buildDoseControls();
buildZPrime();
buildQuarantine();
buildProvenance();
byId("plots").hidden = state.feature === null;
byId("well-all").addEventListener("toggle", drawAllNumbers);
const first = report.wells.find((entry) => entry.thumbnail) ?? report.wells[0];
show({ feature: state.feature, well: first?.well ?? null });
