// The table of all workers and bought accounts: what to show of them, in which order.

import { $, h, show } from "./dom.js";
import { Grid } from "./grid.js";
import { model, rank } from "./model.js";
import { count, NONE, percent, plural, STATES, why } from "./words.js";
import { openWorker } from "./worker.js";

const SEVERITY = Object.keys(STATES);
const HOT = 0.95, WARM = 0.8; // of a share: where a bar says so

const text = (get) => (cell, row) => {
  const said = get(row) ?? NONE;
  if (cell.textContent !== said) cell.textContent = said;
};

function reason(cell, row) {
  const said = why(row);
  if (cell.textContent !== said) cell.textContent = cell.title = said; // where it is cut off
}

const number = (get) => (cell, row) => {
  const said = count(get(row));
  if (cell.textContent !== said) cell.textContent = said;
};

const share = (get) => (cell, row) => {
  const value = get(row);
  if (cell.firstChild === null) {
    cell.append(h("span", { class: "meter", "aria-hidden": "true" }, h("i")), h("span", { class: "n" }));
  }
  const [meter, said] = cell.children;
  const words = percent(value === null ? null : Math.round(value * 100) / 100);
  if (said.textContent === words) return;
  said.textContent = words;
  meter.style.setProperty("--v", Math.min(1, value ?? 0));
  meter.className = `meter ${tone(value)}`;
};

export const tone = (value) => (value === null ? "none" : value >= HOT ? "hot" : value >= WARM ? "warm" : "");

function state(cell, row) {
  if (cell.firstChild === null) cell.append(h("span", { class: "mark", "aria-hidden": "true" }), h("span"));
  const [mark, said] = cell.children;
  if (said.textContent === row.state) return;
  const [sign, kind] = STATES[row.state] ?? ["?", "info"];
  mark.textContent = sign;
  said.textContent = row.state;
  cell.dataset.kind = kind;
}

const hardware = (row) => (row.gpus ? `${row.gpus} × ${row.gpu_kind ?? "GPU"}` : row.kind === "managed" ? "bought" : null);
const age = (row) => (row.kind === "managed" ? null : row.age_s === null ? "fresh" : `${row.age_s} s`);

const COLUMNS = [
  { id: "name", title: "Worker", width: "1.6fr", least: 112, keep: 20, draw: text((row) => row.name), sort: (row) => row.rank },
  { id: "state", title: "State", width: "0.9fr", least: 104, keep: 19, draw: state, sort: (row) => SEVERITY.indexOf(row.state) },
  { id: "load", title: "Load", width: "1fr", least: 92, keep: 18, end: true, draw: share((row) => row.load), sort: (row) => row.load },
  { id: "queue", title: "Queue", width: "0.5fr", least: 62, keep: 14, end: true, draw: number((row) => row.queue), sort: (row) => row.queue },
  { id: "running", title: "Running", width: "0.6fr", least: 74, keep: 10, end: true, draw: number((row) => row.running), sort: (row) => row.running },
  { id: "inflight", title: "Leases", width: "0.6fr", least: 68, keep: 6, end: true, draw: number((row) => row.inflight), sort: (row) => row.inflight },
  { id: "kv", title: "KV cache", width: "1fr", least: 92, keep: 12, end: true, draw: share((row) => row.kv), sort: (row) => row.kv },
  { id: "gpu", title: "GPU", width: "1fr", least: 92, keep: 13, end: true, draw: share((row) => row.gpu), sort: (row) => row.gpu },
  { id: "gpus", title: "Hardware", width: "0.9fr", least: 92, keep: 7, draw: text(hardware), sort: (row) => row.gpus },
  { id: "models", title: "Models", width: "0.5fr", least: 72, keep: 8, end: true, draw: number((row) => row.models), sort: (row) => row.models },
  { id: "backend", title: "Backend", width: "1fr", least: 92, keep: 11, draw: text((row) => row.backend), sort: (row) => row.backend },
  { id: "age", title: "Reading", width: "0.6fr", least: 76, keep: 5, draw: text(age), sort: (row) => row.age_s },
  { id: "why", title: "Why", width: "2fr", least: 128, keep: 15, draw: reason, sort: (row) => row.why },
];

const sorted = { by: "state", down: false };
let grid, ranked = 0;

export function mountFleet() {
  grid = new Grid($("grid"), {
    label: "Workers and bought accounts", hint: "grid-hint", columns: COLUMNS, key: (row) => row.name, onOpen: openWorker,
    onSort(by) {
      sorted.down = sorted.by === by ? !sorted.down : ["load", "queue", "running", "inflight", "kv", "gpu"].includes(by);
      sorted.by = by;
      renderFleet();
    },
  });
  for (const id of ["fleet-filter", "fleet-state", "fleet-backend"]) $(id).addEventListener("input", renderFleet);
}

function options(backends) {
  const chosen = ["fleet-backend", "fleet-state"].map((id) => [$(id), $(id).value]);
  show($("fleet-backend"), h("option", { value: "" }, "All backends"), backends.map((one) => h("option", { value: one }, one)));
  show($("fleet-state"), h("option", { value: "" }, "All states"), h("option", { value: "!up" }, "not up"),
    SEVERITY.map((one) => h("option", { value: one }, one)));
  for (const [select, value] of chosen) select.value = value; // an option that came before it moved it
}

function chosen() {
  const words = $("fleet-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = $("fleet-state").value, backend = $("fleet-backend").value;
  return [...model.workers.values()].filter((row) => {
    if (backend && row.backend !== backend) return false;
    if (state && (state === "!up" ? row.state === "up" : row.state !== state)) return false;
    if (words.length === 0) return true;
    const told = `${row.name} ${row.backend} ${row.kind} ${row.state} ${row.why ?? ""} ${why(row)} ${row.gpu_kind ?? ""}`.toLowerCase();
    return words.every((word) => told.includes(word));
  });
}

// Unknown comes last, whichever way.
function compare(get, down) {
  return (a, b) => {
    const x = get(a), y = get(b);
    if (x === y || (x ?? null) === (y ?? null)) return a.rank - b.rank;
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    return (x < y ? -1 : 1) * (down ? -1 : 1);
  };
}

export function renderFleet() {
  if (ranked !== model.names) options(rank());
  ranked = model.names;
  const rows = chosen(), { sort } = COLUMNS.find((one) => one.id === sorted.by);
  rows.sort(compare(sort, sorted.down));
  const total = model.workers.size;
  const by = SEVERITY.map((one) => [one, rows.filter((row) => row.state === one).length]).filter(([, number]) => number);
  const whole = rows.length === total ? plural(total, "upstream") : `${count(rows.length)} of ${plural(total, "upstream")}`;
  show($("fleet-counts"), [whole, ...by.map(([one, number]) => `${count(number)} ${one}`)].join(" · "));
  grid.setRows(rows, sorted, total === 0 ? "No worker has been told of yet." : "No worker fits the filter.");
}
