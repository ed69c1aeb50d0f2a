// The page: which view is shown, and what is drawn again when the feed tells something new.

import { forget, keep, key, reason } from "./access.js";
import { $, h, show } from "./dom.js";
import { forgetRequest, mountExplain } from "./explain.js";
import { Feed } from "./feed.js";
import { mountFleet, renderFleet } from "./fleet.js";
import { mountFlow, renderFlow } from "./flow.js";
import { applyTheme, mountKeys, nextTheme } from "./keys.js";
import { apply, model, now } from "./model.js";
import { renderBackends, renderKpis, renderLatency, renderMoney } from "./overview.js";
import { mountPolicy, renderPolicy } from "./policy.js";
import { mountReceipts, openReceipts, renderRules } from "./receipts.js";
import { ago, clock, zone } from "./words.js";
import { mountWorker, renderWorker } from "./worker.js";

const VIEWS = ["overview", "fleet", "policy", "receipts", "explain"];
const LINKS = {
  connecting: ["Connecting", "info"],
  reconnecting: ["Reconnecting", "warn"],
  asleep: ["Asleep", "info"],
  refused: ["Signed out", "bad"],
};
// What is drawn anew, by view, when an event of that kind came.
const DRAWN = {
  overview: {
    fleet: [renderBackends],
    flow: [renderFlow, renderKpis],
    latency: [renderLatency, renderKpis],
    money: [renderMoney, renderKpis],
    status: [renderKpis],
  },
  fleet: { fleet: [renderFleet] },
  policy: { policy: [renderPolicy] },
  receipts: { hello: [renderRules] },
  explain: {},
};
const QUIET_MS = 20000; // news or a comment comes every 15 s: this is one that is late
const state = { view: "overview", link: "connecting", paused: 0, due: new Set(), frame: 0 };

const feed = new Feed(
  (kind, data) => {
    apply(kind, data);
    state.due.add(kind);
    if (!state.paused) soon();
  },
  (link, fault) => {
    state.link = link;
    state.fault = fault;
    if (link === "refused") signIn(fault);
    soon();
  },
);

function soon() {
  state.frame ||= requestAnimationFrame(() => {
    state.frame = 0;
    draw();
  });
}

function draw() {
  const kinds = state.paused ? [] : [...state.due];
  if (!state.paused) state.due.clear();
  if (kinds.length > 0 && state.link !== "refused") state.link = "live";
  for (const render of new Set(kinds.flatMap((kind) => DRAWN[state.view]?.[kind] ?? []))) render();
  if (kinds.includes("fleet")) renderWorker();
  renderLink();
  renderAlerts();
}

const silence = () => (Date.now() - feed.heard) / 1000;

const silent = () => state.link === "live" && silence() * 1000 > QUIET_MS;

function connection() {
  if (state.link !== "live") return LINKS[state.link];
  if (silent()) return ["Silent", "warn"];
  return model.status?.degraded === true ? ["Degraded", "warn"] : ["Connected", "ok"];
}

function renderLink() {
  const [text, kind] = connection();
  $("link").dataset.kind = state.paused ? "info" : kind;
  const said = state.paused ? `Paused at ${clock(state.paused)}` : text;
  if ($("link-text").textContent !== said) $("link-text").textContent = said;
  $("link-age").textContent = silent() && !state.paused ? `for ${ago(silence())}` : ""; // it grows: nothing that is read out
  show($("foot"), model.hello !== null && state.link !== "refused" && [
    h("span", null, `Gateway ${model.hello.gateway}, replica ${model.hello.replica}`),
    h("span", null, zone() === "UTC" ? "All times and days are UTC" : `Times are ${zone()}, as your browser has it; days of money and budgets are UTC`),
  ]);
}

// How old what is shown is grows without an event.
setInterval(() => {
  if (state.link !== "reconnecting" && state.link !== "live") return;
  renderLink();
  renderAlerts();
}, 1000);

function renderAlerts() {
  const { policy, status } = model, said = [];
  let stale = false;
  if (state.link === "reconnecting") {
    said.push(["warn", `Not connected: ${reason(state.fault ?? new TypeError())}. Trying again.`]);
    stale = feed.heard > 0;
  }
  show($("age"), stale && h("p", { class: "alert warn" }, `What you see is ${ago(silence())} old, of ${clock(feed.heard / 1000)}.`));
  document.body.classList.toggle("stale", stale);
  if (status?.ready === false) said.push(["bad", "Not ready: no upstream takes traffic."]);
  if (status?.degraded) said.push(["warn", "Degraded: the store does not answer. Each replica admits its share of what was free when it last saw it."]);
  if (policy?.differ) {
    const versions = [...new Set(policy.replicas.map((row) => row.version))].join(" and ");
    said.push(["bad", `Replicas follow different policies: ${versions}.`, h("a", { href: "#policy" }, "See which")]);
  }
  for (const fault of status?.faults ?? []) said.push(["warn", fault]);
  show($("alerts"), said.map(([kind, text, more]) => h("p", { class: `alert ${kind}` }, kind === "bad" ? "✕ " : "▲ ", text, " ", more)));
}

function view(name, focus = true) {
  state.view = VIEWS.includes(name) ? name : "overview";
  const out = state.link === "refused";
  $("view-sign-in").hidden = !out;
  for (const one of VIEWS) $(`view-${one}`).hidden = out || one !== state.view;
  for (const link of $("nav").children) {
    if (link.hash === `#${state.view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${$(`h-${state.view}`).textContent} · Gateway`;
  if (out) return;
  if (focus) $(`h-${state.view}`).focus({ preventScroll: true });
  if (focus) scrollTo(0, 0);
  if (model.hello === null) return;
  for (const render of new Set(Object.values(DRAWN[state.view]).flat())) render();
  if (state.view === "receipts") openReceipts();
}

function signIn(fault) {
  const wrong = fault.status === 401 && key() !== null;
  forget();
  $("sign-out").hidden = true;
  $("sign-in-why").textContent = fault.status === 403 ? reason(fault) : "What this gateway does is shown to who has its admin key.";
  $("sign-in").hidden = fault.status === 403;
  $("sign-in-fault").textContent = wrong ? `✕ ${reason(fault)}` : "";
  view(state.view, false);
  $("h-sign-in").focus();
  if (!$("sign-in").hidden) $("key").focus();
}

function start() {
  state.link = "connecting";
  $("sign-out").hidden = key() === null;
  view(location.hash.slice(1), false);
  feed.start();
}

function pause() {
  state.paused = state.paused ? 0 : now();
  $("pause").setAttribute("aria-pressed", state.paused > 0);
  $("pause").textContent = state.paused ? "Go on" : "Pause";
  soon();
}

const go = (name) => () => (location.hash = name);

function toSearch() {
  if (state.view !== "receipts" && state.view !== "fleet") location.hash = "fleet";
  requestAnimationFrame(() => $(state.view === "receipts" ? "r-id" : "fleet-filter").focus());
}

applyTheme();
mountFleet();
mountWorker();
mountFlow();
mountPolicy();
mountReceipts();
mountExplain();
mountKeys({ ...Object.fromEntries(VIEWS.map((name, index) => [index + 1, go(name)])), "/": toSearch, p: pause, t: nextTheme });
$("theme").addEventListener("click", nextTheme);
$("pause").addEventListener("click", pause);
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  keep($("key").value);
  $("key").value = "";
  start();
});
$("sign-out").addEventListener("click", () => {
  forget();
  forgetRequest();
  location.reload(); // nothing of what was shown stays in memory
});
addEventListener("hashchange", () => view(location.hash.slice(1)));
start();
