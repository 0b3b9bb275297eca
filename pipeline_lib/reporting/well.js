// The panel of the chosen well: its picture, its place in the plate map and its numbers.

function drawWell() {
  const entry = entries.get(state.well);
  byId("well-panel").hidden = !entry;
  if (!entry) return;
  const [text, tone] = STATUS_CHIPS[entry.status];
  byId("well-name").textContent = entry.well;
  byId("well-status").textContent = text;
  byId("well-status").className = `chip ${tone}`;
  byId("well-reason").hidden = entry.status === "done";
  byId("well-reason").textContent = entry.reason || "No reason given.";
  drawThumbnail(entry);
  byId("well-numbers").replaceChildren(element("tbody", {}, ...keyNumbers(entry.well)));
  drawAllNumbers();
}

function drawThumbnail({ well, thumbnail, outlined, restored }) {
  const picture = (state.outlines ? outlined : null) ?? thumbnail ?? outlined;
  byId("outline-field").hidden = !(thumbnail && outlined);
  byId("well-no-picture").hidden = Boolean(picture);
  byId("well-caption").textContent = picture ? report.caption : "";
  drawPicture(byId("well-thumbnail"), picture, restored ? `Well ${well}, raw` : `Well ${well}`);
  drawPicture(byId("well-restored"), restored, `Well ${well}, restored`);
}

function drawPicture(image, picture, told) {
  image.hidden = !picture;
  image.alt = picture ? told : "";
  if (picture) image.src = picture;
  else image.removeAttribute("src");
}

/** Rows for the well's plate-map entries, the chosen feature, and its counts and picture quality. */
function keyNumbers(well) {
  const row = rowFor(well);
  if (row === undefined) return [];
  const map = Object.keys(report.metadata).filter((name) => name !== "Well" && column(name)[row] !== null);
  const others = features.filter((name) => name !== state.feature && /^(Count|Quality)_/.test(name));
  const numbers = state.feature === null ? others : [state.feature, ...others];
  return [
    ...map.map((name) => numberRow(readable(name), column(name)[row])),
    ...numbers.map((name) => numberRow(readable(name), report.features[name][row], name === state.feature)),
  ];
}

/** Fills the long list only while it is open. */
function drawAllNumbers() {
  const [details, row] = [byId("well-all"), rowFor(state.well)];
  details.hidden = row === undefined;
  details.querySelector("summary").textContent = `All ${features.length.toLocaleString("en")} features`;
  if (details.hidden || !details.open) return;
  const rows = features.map((name) => numberRow(readable(name), report.features[name][row]));
  details.querySelector("table").replaceChildren(element("tbody", {}, ...rows));
}

function numberRow(name, value, chosen = false) {
  const cells = [element("th", { scope: "row" }, name), element("td", {}, formatted(value))];
  return element("tr", { class: chosen ? "chosen" : null }, ...cells);
}
