// The first view: six numbers, latency against SLO, backends, money.

import { $, bar, h, s, show } from "./dom.js";
import { tone } from "./fleet.js";
import { flowOfAll } from "./flow.js";
import { model } from "./model.js";
import { muted } from "./parts.js";
import { compact, count, exactly, ms, NONE, percent, period, plural, ruleName, STATES, usd } from "./words.js";

const LATELY = 5; // minutes
const SPARK = [120, 26];
const NEARLY_USED = 0.8, USED = 0.98; // of a budget
const sumOf = (numbers) => Object.values(numbers).reduce((all, one) => all + one, 0);

function kpi(term, value, note, kind = "") {
  return h("div", { class: `kpi ${kind}` }, h("dt", null, term), h("dd", { class: "value" }, value), h("dd", { class: "note" }, note));
}

export function renderKpis() {
  const lately = flowOfAll(LATELY), number = sumOf(lately), bought = (lately.spilled ?? 0) + (lately.fallback ?? 0) + (lately.managed ?? 0);
  const refused = (lately.refused ?? 0) + (lately.failed ?? 0);
  const share = (part) => percent(number ? part / number : null);
  const { status, money } = model;
  const worst = worstRule();
  const spent = money?.spent_usd.managed ?? null;
  show($("kpis"),
    kpi("In flight", compact(status?.in_flight), status ? `${count(status.queue)} waiting · ${plural(status.jobs_running, "job")}` : NONE),
    kpi("Served at home", share(lately.local ?? 0), `${plural(number, "request")} in ${LATELY} min`),
    kpi("Bought", share(bought), `${count(lately.spilled ?? 0)} spilled · ${count(lately.fallback ?? 0)} fallback`),
    kpi("Refused or failed", share(refused), `${count(lately.refused ?? 0)} refused · ${count(lately.failed ?? 0)} failed`,
      refused ? "warn" : ""),
    worst === null
      ? kpi("SLO met", NONE, "no rule with an SLO was used")
      : kpi("SLO met", exactly(worst.met),
        worst.ok ? "✓ every rule meets it" : `✕ ${worst.rule} misses ${exactly(worst.target)}`, worst.ok ? "" : "bad"),
    kpi("Spent today", usd(spent), !money ? "being added up" : spent === null ? "no ledger answers" : money?.simulated ? "simulated money" : saved(money) ?? "on bought models"));
}

// Own GPUs cost rent also while they idle, so on a quiet day buying all would have been cheaper.
function saved(money) {
  if (!money || money.saved_usd === null) return null;
  return money.saved_usd >= 0 ? `${usd(money.saved_usd)} saved by your own GPUs` : `${usd(-money.saved_usd)} more than buying all`;
}

function worstRule() {
  const judged = Object.entries(model.latency?.rules ?? {}).filter(([, one]) => one.met !== null);
  if (judged.length === 0) return null;
  const [rule, told] = judged.reduce((a, b) => (a[1].met - (a[1].target ?? 0) <= b[1].met - (b[1].target ?? 0) ? a : b));
  return { rule, met: told.met, target: told.target, ok: told.target === null || told.met >= told.target };
}

export function renderLatency() {
  const rows = Object.entries(model.latency?.rules ?? {}).filter(([, one]) => one.n > 0 || one.slo_ms !== null);
  if (rows.length === 0) {
    show($("latency"), h("tbody", null, h("tr", null, h("td", { class: "muted" }, "No answer has been streamed in this hour."))));
    return;
  }
  const heads = [["Rule"], ["Met"], ["SLO", 1], ["p50", 1], ["p95", 1], ["p99", 1], ["Streams", 1], ["p95 by minute"]];
  show($("latency"),
    h("thead", null, h("tr", null, heads.map(([title, end]) => h("th", { scope: "col", class: end ? "end" : null }, title)))),
    h("tbody", null, rows.map(([rule, one]) => {
      const over = (value) => (one.slo_ms !== null && value > one.slo_ms ? "end over" : "end");
      return h("tr", null, h("th", { scope: "row" }, ruleName(rule)), h("td", null, verdict(one)), h("td", { class: "end" }, ms(one.slo_ms)),
        ["p50", "p95", "p99"].map((name) => h("td", { class: over(one.ttft_ms?.[name]) }, ms(one.ttft_ms?.[name]))),
        h("td", { class: "end" }, count(one.n)), h("td", null, spark(one)));
    })));
}

function verdict(one) {
  if (one.met === null || one.slo_ms === null) return h("span", { class: "muted" }, "no SLO");
  const ok = one.target === null || one.met >= one.target;
  return h("span", { class: ok ? "good" : "over" }, `${ok ? "✓" : "✕"} ${exactly(one.met)}`,
    one.target === null ? null : muted(` of ${exactly(one.target)}`));
}

function spark(one) {
  const values = one.p95_by_minute ?? [], [width, height] = SPARK;
  const top = Math.max(...values.filter((value) => value !== null), one.slo_ms ?? 0, 1);
  const x = (index) => (index / Math.max(1, values.length - 1)) * width, y = (value) => height - 2 - (value / top) * (height - 4);
  let d = "", pen = false;
  values.forEach((value, index) => {
    if (value !== null) d += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}${pen ? "" : "h.1"}`;
    pen = value !== null;
  });
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true" },
    one.slo_ms !== null && s("line", { x1: 0, x2: width, y1: y(one.slo_ms), y2: y(one.slo_ms), class: "slo" }), d && s("path", { d, class: "line" }));
}

export function renderBackends() {
  const groups = new Map();
  for (const row of model.workers.values()) groups.set(row.backend, [...(groups.get(row.backend) ?? []), row]);
  const mean = (rows, name) => {
    const known = rows.map((row) => row[name]).filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce((all, one) => all + one, 0) / known.length : null;
  };
  const sorted = [...groups].sort(([a, x], [b, y]) => x[0].kind.localeCompare(y[0].kind) || a.localeCompare(b));
  show($("backends"), sorted.length === 0 ? h("li", { class: "muted" }, "No worker has been told of yet.") : sorted.map(([name, rows]) => {
    const live = rows.filter((row) => row.state !== "out");
    const load = mean(live, "load"), queue = rows.reduce((all, row) => all + (row.queue ?? 0), 0);
    const inState = (state) => rows.filter((row) => row.state === state).length;
    const others = Object.keys(STATES).map((one) => [one, inState(one)]).filter(([one, number]) => one !== "up" && number);
    return h("li", null,
      h("div", { class: "line" }, h("b", null, name), h("span", { class: "muted" }, rows[0].kind === "managed" ? "bought" : "ours"),
        h("span", { class: "n" }, percent(load))),
      bar(load, tone(load)),
      h("div", { class: "note" }, `${inState("up")} of ${rows.length} up`,
        others.map(([one, number]) => [" · ", h("span", { class: "state", "data-kind": STATES[one][1] }, `${STATES[one][0]} ${number} ${one}`)]),
        rows[0].kind === "managed" ? null : ` · ${count(queue)} queued`));
  }));
}

export function renderMoney() {
  const { money } = model;
  $("money-day").textContent = money ? `${money.day}, UTC` : "";
  if (!money) return;
  const { managed, own } = money.spent_usd;
  const sums = [[money.simulated ? "Bought models, simulated" : "Bought models", managed], ["Own GPUs", own], money.saved_usd < 0 ? ["More than buying all", -money.saved_usd] : ["Saved against buying all", money.saved_usd]];
  const budgets = [...money.budgets].sort((a, b) => a.left - b.left);
  show($("money"),
    h("dl", { class: "sums" },
      sums.map(([term, value]) =>
        h("div", null, h("dt", null, term), h("dd", null, usd(value))))),
    budgets.length === 0 ? h("p", { class: "muted pad" }, "The policy sets no budget.") : h("ul", { class: "budgets" }, budgets.map(budget)));
}

function budget(one) {
  const used = one.limit_usd ? one.used_usd / one.limit_usd : 1, held = one.limit_usd ? one.held_usd / one.limit_usd : 0;
  const kind = used + held >= USED ? "hot" : used + held >= NEARLY_USED ? "warm" : "";
  const sign = kind === "hot" ? "✕ used up" : kind === "warm" ? "▲ nearly used" : null;
  return h("li", null,
    h("div", { class: "line" }, h("b", null, one.name), muted(period(one.period)),
      h("span", { class: "n" }, `${usd(one.used_usd)} of ${usd(one.limit_usd)}`)),
    bar(used, kind, held),
    h("div", { class: "note" }, sign && h("span", { class: kind === "hot" ? "over" : "nearly" }, `${sign} · `),
      `${percent(Math.max(0, one.left))} left`, one.held_usd > 0 && ` · ${usd(one.held_usd)} held by requests that run`));
}
