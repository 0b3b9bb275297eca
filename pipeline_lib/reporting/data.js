"use strict";

// The report's data, the state of the page, and helpers that know nothing of what is drawn.

const byId = (id) => document.getElementById(id);
const report = JSON.parse(byId("report-data").textContent);
const features = Object.keys(report.features);
const entries = new Map(report.wells.map((entry) => [entry.well, entry]));
const column = (name) => report.metadata[name] ?? [];
const times = distinct(column("Timepoint"));
const rowOf = new Map(column("Well").map((well, row) => [rowKey(well, column("Timepoint")[row]), row]));
const state = {
  feature: report.defaultFeature, time: times[0], well: null, compound: null, outlines: true, clip: false,
};

const STATUS_CHIPS = { done: ["Analysed", "good"], quarantined: ["Quarantined", "bad"], missing: ["Missing", "fair"] };
const ROLE_MARKS = { positive: "+", negative: "−" };

/** Builds an element. Text children become text nodes, so nothing from the data is ever read as markup. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** A button that looks like a link. */
function link(text, onclick) {
  return element("button", { class: "link", type: "button", onclick }, text);
}

/** The known values once each: numbers in their order, others as they come. */
function distinct(values) {
  const found = [...new Set(values.filter((value) => value !== null))];
  return found.every((value) => typeof value === "number") ? found.sort((a, b) => a - b) : found;
}

function rowKey(well, time) {
  return JSON.stringify([well, time ?? null]);
}

/** Row of the table that belongs to a well at the chosen time, or undefined. */
function rowFor(well) {
  return rowOf.get(rowKey(well, state.time));
}

function metadata(well, name) {
  return column(name)[rowFor(well)] ?? null;
}

/** Value of the chosen feature in a row of the table; null when unknown or when the well was not analysed. */
function valueAt(row) {
  const analysed = entries.get(column("Well")[row])?.status === "done";
  return (analysed ? report.features[state.feature]?.[row] : null) ?? null;
}

function valueOf(well) {
  return valueAt(rowFor(well));
}

function roleOf(well) {
  return String(metadata(well, "Role") ?? "").toLowerCase();
}

/** Names of the wells that have a value of the chosen feature. */
function knownWells() {
  return report.wells.map(({ well }) => well).filter((well) => valueOf(well) !== null);
}

function formatted(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
}

/** A machine name as a reader would write it: `Quality_Focus_DNA` becomes `Quality Focus DNA`. */
function readable(name) {
  return name.replaceAll("_", " ").replace("ZPrime", "Z′");
}

/** A test for names that hold every word of a search, whatever the case; `_` counts as a space. */
function matching(search) {
  const words = search.toLowerCase().split(/[\s_]+/);
  return (name) => words.every((word) => name.toLowerCase().includes(word));
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Sample standard deviation; 0 for fewer than two values. */
function deviation(values) {
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1));
}

/** Value below which a share of sorted values lies, interpolated. */
function quantile(sorted, share) {
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  return sorted[below] + (position - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}
