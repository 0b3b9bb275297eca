// The tables: assay quality, wells that are holes, and where the numbers come from.

const MATRIX_COLUMNS = 8;
const zPrimeOrder = { name: "ZPrime", descending: true };

function table(names, rows) {
  const headings = names.map((name) => (typeof name === "string" ? element("th", { scope: "col" }, name) : name));
  return [element("thead", {}, element("tr", {}, ...headings)), element("tbody", {}, ...rows)];
}

function chip(text, tone) {
  return element("span", { class: `chip ${tone}` }, text);
}

function buildZPrime() {
  const empty = (report.zPrime.Feature ?? []).length === 0;
  byId("zprime-none").hidden = !empty;
  byId("zprime-table").hidden = empty;
  byId("zprime-search").closest("label").hidden = empty;
  byId("zprime-search").addEventListener("input", drawZPrime);
  if (!empty) drawZPrime();
}

function drawZPrime() {
  const names = Object.keys(report.zPrime);
  const found = matching(byId("zprime-search").value);
  const all = report.zPrime.Feature;
  const rows = [...all.keys()].filter((row) => found(all[row])).sort(compareZPrime);
  byId("zprime-count").textContent = `${rows.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
  byId("zprime-table").replaceChildren(...table(names.map(zPrimeHeading), rows.map((row) => zPrimeRow(names, row))));
}

/** Order by the chosen column; unknown values come last either way. */
function compareZPrime(a, b) {
  const [left, right] = [a, b].map((row) => report.zPrime[zPrimeOrder.name][row]);
  if (left === null || right === null) return (left === null) - (right === null);
  const order = typeof left === "number" ? left - right : String(left).localeCompare(String(right));
  return zPrimeOrder.descending ? -order : order;
}

function zPrimeHeading(name) {
  const chosen = zPrimeOrder.name === name;
  const sort = () => {
    Object.assign(zPrimeOrder, { name, descending: chosen ? !zPrimeOrder.descending : name !== "Feature" });
    drawZPrime();
  };
  const attributes = { scope: "col", class: name === "Feature" ? "name" : "number" };
  const order = chosen ? { "aria-sort": zPrimeOrder.descending ? "descending" : "ascending" } : {};
  const button = element("button", { class: "sort", type: "button", onclick: sort }, readable(name));
  return element("th", { ...attributes, ...order }, button);
}

function zPrimeRow(names, row) {
  return element("tr", {}, ...names.map((name) => {
    const value = report.zPrime[name][row];
    if (name === "Feature") return element("td", {}, featureLink(value));
    if (name === "ZPrime") return element("td", { class: "number" }, chip(...zPrimeGrade(value)));
    return element("td", { class: "number" }, formatted(value));
  }));
}

/** Z' and the colour of its grade (Zhang, Chung and Oldenburg 1999): from 0.5 excellent, down to 0 marginal. */
function zPrimeGrade(value) {
  if (value === null) return ["–", ""];
  return [value.toFixed(2), value >= 0.5 ? "good" : value > 0 ? "fair" : "bad"];
}

function featureLink(name) {
  return Object.hasOwn(report.features, name) ? link(readable(name), () => show({ feature: name })) : readable(name);
}

function buildQuarantine() {
  const holes = report.wells.filter((entry) => entry.status !== "done");
  byId("quarantine-none").hidden = holes.length > 0;
  byId("quarantine-table").hidden = holes.length === 0;
  const rows = holes.map(({ well, status, reason }) => [
    link(well, () => selectWell(well)), chip(...STATUS_CHIPS[status]), reason || "no reason given",
  ]);
  const cells = rows.map((row) => element("tr", {}, ...row.map((content) => element("td", {}, content))));
  byId("quarantine-table").append(...table(["Well", "Status", "Reason"], cells));
}

/** Single values first in one table, then each group folded. */
function buildProvenance() {
  const items = Object.entries(report.provenance);
  const isGroup = ([, item]) => typeof item === "object" && item !== null;
  const single = items.filter((item) => !isGroup(item));
  const groups = items.filter(isGroup).map(([name, item]) => folded(readable(name), nested(item)));
  byId("provenance").append(...(single.length > 0 ? [pairs(single)] : []), ...groups);
}

function isMapping(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Anything nested, as tables: alike mappings as a matrix, other mappings as pairs, lists in one line. */
function nested(value) {
  if (Array.isArray(value)) return nestedList(value);
  if (!isMapping(value)) return typeof value === "number" ? formatted(value) : String(value ?? "–");
  const items = Object.entries(value);
  return isMatrix(items) ? matrix(items) : pairs(items);
}

function nestedList(values) {
  const items = values.map((value, index) => [String(index + 1), value]);
  if (isMatrix(items)) return matrix(items);
  return values.map((value) => (typeof value === "object" ? JSON.stringify(value) : String(value))).join(", ");
}

function isMatrix(items) {
  const isFlat = (item) => isMapping(item) && Object.values(item).every((part) => !isMapping(part));
  const names = new Set(items.flatMap(([, item]) => Object.keys(item ?? {})));
  return items.length > 1 && items.every(([, item]) => isFlat(item)) && names.size <= MATRIX_COLUMNS;
}

function matrix(items) {
  const names = distinct(items.flatMap(([, item]) => Object.keys(item)));
  const rows = items.map(([name, item]) => element("tr", {}, element("th", { scope: "row" }, name),
    ...names.map((part) => element("td", {}, nested(item[part])))));
  return element("table", { class: "grid fit" }, ...table(["", ...names.map(readable)], rows));
}

function pairs(items) {
  const inside = (item) => folded(Object.keys(item).slice(0, 6).join(", "), nested(item));
  const content = (item) => (isMapping(item) && Object.keys(item).length > 0 ? inside(item) : nested(item));
  const rows = items.map(([name, item]) =>
    element("tr", {}, element("th", { scope: "row" }, readable(name)), element("td", {}, content(item))));
  return element("table", { class: "pairs" }, element("tbody", {}, ...rows));
}

function folded(title, content) {
  return element("details", {}, element("summary", {}, title), content);
}
