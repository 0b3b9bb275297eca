// The plate map: one button per well, coloured by the chosen feature, and the controls above it.

const VIRIDIS = [
  "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26",
  "#fde725",
];
const MANY_FEATURES = 15;
const COLUMNS_WITH_NUMBERS = 12;
const DENSE_COLUMNS = 16;
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function buildHeatmap() {
  const grid = byId("heatmap");
  const columns = report.positions[0];
  grid.style.gridTemplateColumns = `20px repeat(${columns.length}, minmax(0, 1fr))`;
  const widest = Math.min(140 * columns.length + 20, (600 * columns.length) / report.positions.length);
  grid.style.maxWidth = `${Math.round(widest)}px`;
  grid.classList.toggle("dense", columns.length > DENSE_COLUMNS);
  const axis = (text) => element("span", { class: "axis" }, text);
  grid.append(element("span"), ...columns.map((well) => axis(String(Number(well.slice(-2))))));
  report.positions.forEach((wells, row) => {
    grid.append(axis(wells[0].slice(0, -2)), ...wells.map((well, index) => wellButton(well, row, index)));
  });
  grid.addEventListener("click", (event) => selectWell(event.target.closest("[data-well]")?.dataset.well));
  grid.addEventListener("keydown", moveOnPlate);
  grid.addEventListener("mouseover", (event) => showTip(event.target.closest("[data-well]")));
  grid.addEventListener("mouseleave", () => showTip(null));
}

function wellButton(well, row, index) {
  if (!entries.has(well)) return element("span", { class: "well off" });
  return element("button", { type: "button", "data-well": well, "data-row": row, "data-column": index });
}

function drawHeatmap() {
  const [low, high] = colourRange();
  for (const button of byId("heatmap").querySelectorAll("[data-well]")) paintWell(button, low, high);
  byId("scale-low").textContent = formatted(low);
  byId("scale-high").textContent = formatted(high);
}

/** Lowest and highest value over all time points, so that colours keep their meaning when the time changes. */
function colourRange() {
  const values = column("Well").map((_, row) => valueAt(row)).filter((value) => value !== null).sort((a, b) => a - b);
  if (values.length === 0) return [null, null];
  return state.clip ? [quantile(values, 0.02), quantile(values, 0.98)] : [values[0], values.at(-1)];
}

function paintWell(button, low, high) {
  const { well, status } = entries.get(button.dataset.well);
  const value = valueOf(well);
  const chosen = well === state.well;
  button.className = `well ${status === "done" && value === null ? "unknown" : status}`;
  button.dataset.value = value ?? "";
  button.setAttribute("aria-pressed", chosen);
  button.setAttribute("aria-label", describe(well).join(", "));
  button.tabIndex = chosen ? 0 : -1;
  button.replaceChildren(...wellMarks(well, value));
  const colour = value === null ? null : viridis(high > low ? (value - low) / (high - low) : 0.5);
  button.style.background = colour === null ? "" : `rgb(${colour.join(" ")})`;
  button.style.color = colour === null ? "" : luminance(colour) > 0.2 ? "#17212b" : "#fff";
}

function wellMarks(well, value) {
  const role = ROLE_MARKS[roleOf(well)];
  const marks = role ? [element("span", { class: "role" }, role)] : [];
  const withNumber = value !== null && report.positions[0].length <= COLUMNS_WITH_NUMBERS;
  return withNumber ? [...marks, formatted(Number(value.toPrecision(3)))] : marks;
}

/** Colour at a share (clipped to 0..1) of the viridis scale, as [red, green, blue]. */
function viridis(share) {
  const position = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(position), VIRIDIS.length - 2);
  const [from, to] = [VIRIDIS[below], VIRIDIS[below + 1]].map(parseColour);
  return from.map((start, index) => Math.round(start + (position - below) * (to[index] - start)));
}

function parseColour(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/** Relative luminance, 0..1 (WCAG 2). Above 0.2 dark text has more contrast than white. */
function luminance(colour) {
  const linear = (share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  const [red, green, blue] = colour.map((value) => linear(value / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** What there is to say about a well in a few lines: for the tooltip and for screen readers. */
function describe(well) {
  const { status, reason } = entries.get(well);
  const [dose, compound] = [metadata(well, "Dose"), metadata(well, "Compound")];
  const treatment = [compound, dose === null ? null : formatted(dose)].filter((part) => part !== null).join(" · ");
  const value = state.feature === null ? "no feature" : `${readable(state.feature)}: ${formatted(valueOf(well))}`;
  const hole = `${STATUS_CHIPS[status][0]}: ${reason || "no reason given"}`;
  return [well, metadata(well, "Role"), treatment, status === "done" ? value : hole].filter(Boolean);
}

function showTip(button) {
  const tip = byId("tip");
  tip.hidden = !button;
  if (!button) return;
  const place = button.getBoundingClientRect();
  tip.textContent = describe(button.dataset.well).join("\n");
  tip.style.left = `${Math.min(place.right + 8, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(place.top, window.innerHeight - tip.offsetHeight - 8)}px`;
}

function selectWell(well) {
  if (well) show({ well });
}

/** Arrow keys go to the next imaged well in their direction. */
function moveOnPlate(event) {
  const [down, right] = STEPS[event.key] ?? [0, 0];
  if (!(event.key in STEPS) || !("well" in event.target.dataset)) return;
  event.preventDefault();
  let row = Number(event.target.dataset.row) + down;
  let index = Number(event.target.dataset.column) + right;
  for (; report.positions[row]?.[index] !== undefined; row += down, index += right) {
    const next = byId("heatmap").querySelector(`[data-row="${row}"][data-column="${index}"]`);
    if (next === null) continue;
    next.focus();
    return selectWell(next.dataset.well);
  }
}

function buildLegend() {
  byId("scale-colours").style.background = `linear-gradient(to right, ${VIRIDIS.join(", ")})`;
  const statuses = report.wells.map((entry) => entry.status);
  const roles = column("Role").map((role) => String(role).toLowerCase());
  const swatch = (look) => element("span", { class: `well ${look}`, "aria-hidden": "true" });
  const sign = (role) => element("span", { class: "role", "aria-hidden": "true" }, ROLE_MARKS[role]);
  const marks = [
    [roles.includes("positive"), sign("positive"), "positive control"],
    [roles.includes("negative"), sign("negative"), "negative control"],
    [statuses.includes("quarantined"), swatch("quarantined"), "quarantined"],
    [statuses.includes("missing"), swatch("missing"), "missing"],
    [true, swatch("unknown"), "no value"],
    [entries.size < report.positions.flat().length, swatch("off"), "not imaged"],
  ];
  byId("marks").append(...marks.filter(([present]) => present).map(([, mark, text]) => element("li", {}, mark, text)));
}

function buildControls() {
  const [select, search] = [byId("feature-select"), byId("feature-search")];
  byId("feature-search-field").hidden = features.length <= MANY_FEATURES;
  search.placeholder = `${features.length.toLocaleString("en")} features`;
  select.addEventListener("change", () => show({ feature: select.value }));
  search.addEventListener("input", listFeatures);
  search.addEventListener("keydown", (event) => {
    const first = select.querySelector("option:not(:disabled)");
    if (event.key === "Enter" && first) show({ feature: first.value });
  });
  byId("time-field").hidden = times.length < 2;
  byId("time-select").append(...times.map((time, index) => element("option", { value: index }, formatted(time))));
  byId("time-select").addEventListener("change", (event) => show({ time: times[event.target.value] }));
  byId("clip-toggle").addEventListener("change", (event) => show({ clip: event.target.checked }));
  byId("outline-toggle").addEventListener("change", (event) => show({ outlines: event.target.checked }));
  listFeatures();
}

/** Offers the features that match the search, grouped by the first part of their names. */
function listFeatures() {
  const groups = new Map([["Count", []], ["Quality", []]]);
  for (const name of features.filter(matching(byId("feature-search").value))) {
    const group = name.split("_")[0];
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(element("option", { value: name }, readable(name)));
  }
  const lists = [...groups].filter(([, options]) => options.length > 0);
  const none = element("option", { disabled: "" }, "no such feature");
  const found = lists.map(([group, options]) => element("optgroup", { label: group }, ...options));
  byId("feature-select").replaceChildren(...(found.length > 0 ? found : [none]));
  byId("feature-select").value = state.feature;
}

/** Shows the chosen feature in its list; a search that hides it is dropped. */
function drawFeatureChoice() {
  byId("feature-select").value = state.feature;
  if (byId("feature-select").selectedIndex >= 0) return;
  byId("feature-search").value = "";
  listFeatures();
}
