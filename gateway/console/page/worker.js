// One worker in full, with drain and undrain.

import { post } from "./access.js";
import { confirmed } from "./ask.js";
import { $, bar, h, s, show } from "./dom.js";
import { model, now } from "./model.js";
import { button, facts as factsOf } from "./parts.js";
import { count, percent, plural, STATES, why } from "./words.js";

const LONGEST_REASON = 200; // as gateway/console/workers.py takes it
const WIDTH = 320, HEIGHT = 56;
let open = null;

export function mountWorker() {
  $("detail").addEventListener("close", () => (open = null));
  $("detail").addEventListener("click", (event) => {
    if (event.target === $("detail") || event.target.closest("#detail-close")) $("detail").close();
    else if (event.target.closest("#drain")) drain(open);
    else if (event.target.closest("#undrain")) undrain(open);
  });
}

export function openWorker(row) {
  open = row.name;
  renderWorker();
  $("detail").showModal();
  $("detail-title").focus();
}

export function renderWorker() {
  if (open === null) return;
  const row = model.workers.get(open);
  show($("detail-inside"),
    h("header", null, h("h2", { id: "detail-title", tabindex: "-1" }, open), button("detail-close", "Close", "quiet")),
    row === undefined ? h("p", null, "It is not there any more.") : facts(row));
}

function facts(row) {
  const [sign, kind] = STATES[row.state] ?? ["?", "info"];
  const local = row.kind === "local";
  const drained = row.state === "draining" || row.state === "drained";
  const told = [
    ["Backend", `${row.backend} (${local ? "ours" : "bought"})`],
    ["Hardware", row.gpus ? `${row.gpus} × ${row.gpu_kind ?? "GPU"}` : null],
    ["Models", count(row.models)],
    ["Running", count(row.running)],
    ["Queue", count(row.queue)],
    ["Leases of all replicas", count(row.inflight)],
    ["Limit", row.limit_s === null ? null : `${row.limit_s} GPU s`],
    ["Other callers' share", row.outside ? percent(row.outside) : null],
    ["Headroom of the account", local ? null : percent(row.headroom)],
    ["Reading", !local ? null : row.age_s === null ? "fresh" : `${row.age_s} s old`],
  ];
  return [
    h("p", { class: "state big", "data-kind": kind }, h("span", { "aria-hidden": "true" }, sign), " ", row.state, row.why ? `: ${why(row)}` : ""),
    h("ul", { class: "shares" }, [["Load", row.load], ["KV cache", row.kv], ["GPU", row.gpu]].map(([title, value]) =>
      h("li", null, h("span", null, title), bar(value), h("span", { class: "n" }, percent(value))))),
    h("figure", null, line(row.past), h("figcaption", { class: "note" }, "Load since this page was opened")),
    factsOf(told.filter(([, value]) => value !== null)),
    local && h("div", { class: "row" }, drained
      ? button("undrain", "Undrain…", "primary")
      : button("drain", "Drain…", "danger")),
  ];
}

function line(past) {
  const told = past.filter(([, load]) => load !== null);
  const from = told[0]?.[0] ?? 0, to = Math.max(now(), from + 1);
  const known = told.length ? [...told, [to, told.at(-1)[1]]] : []; // what was told last holds until now
  const x = (at) => ((at - from) / Math.max(1, to - from)) * WIDTH, y = (load) => HEIGHT - 2 - Math.min(1, load) * (HEIGHT - 4);
  const points = known.map(([at, load]) => `${x(at).toFixed(1)},${y(load).toFixed(1)}`).join(" ");
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "spark", "aria-hidden": "true", preserveAspectRatio: "none" },
    s("line", { x1: 0, x2: WIDTH, y1: y(1), y2: y(1), class: "rule" }), s("polyline", { points, class: "line" }));
}

async function drain(name) {
  const row = model.workers.get(name);
  const peers = [...model.workers.values()].filter((one) => one.backend === row.backend && one.name !== name);
  const left = peers.filter((one) => one.state === "up" || one.state === "warming").length;
  await confirmed({
    title: `Drain ${name}?`,
    consequence: [
      `${name} takes nothing new, on every replica and after every restart, until somebody undrains it.`,
      row.inflight ? `What runs there (${plural(row.inflight, "request")}) goes on to its end.` : "Nothing runs there now.",
      left === 0
        ? `No other worker of ${row.backend} is up: its requests will wait, be bought or be refused, as their rules say.`
        : `${plural(left, "worker")} of ${row.backend} ${left === 1 ? "stays" : "stay"} up.`,
    ],
    action: `Drain ${name}`,
    doing: ({ reason }) => post(`workers/${encodeURIComponent(name)}/drain`, { reason }),
    done: () => `${name} is being drained`,
    danger: true,
    fields: [
      h("label", { for: "drain-why" }, "Reason (colleagues will read it)"),
      h("input", { id: "drain-why", name: "reason", maxlength: LONGEST_REASON, autocomplete: "off" }),
    ],
  });
}

async function undrain(name) {
  await confirmed({
    title: `Undrain ${name}?`,
    consequence: [`${name} takes new requests again at once, on every replica.`],
    action: `Undrain ${name}`,
    doing: () => post(`workers/${encodeURIComponent(name)}/undrain`),
    done: () => `${name} takes requests again`,
  });
}
