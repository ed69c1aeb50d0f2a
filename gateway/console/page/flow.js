// Where requests went: stacked per minute, one picture for all rules and one for each, and the same as a table.
// A column is a minute and nothing is drawn between two of them: what was counted is what is shown.

import { $, h, s, show } from "./dom.js";
import { model, now, sum } from "./model.js";
import { compact, count, minute, NO_RULE, OUTCOMES, percent, ruleName, zone } from "./words.js";

const ALL = "All rules";
const PATTERNED = new Set(["spilled", "fallback", "managed", "refused", "left"]);
const LEFT = 40, HALF_TICK = 18, BOTTOM = 18, TOP = 6, TALL = 168, SMALL = 84, LEAST = 212;
const WHOLE = 60, YOUNG = 15; // minutes that are shown; of a gateway that has served for no longer than that
let hovered = null;

export const paint = (outcome) => (PATTERNED.has(outcome) ? { fill: `url(#p-${outcome})` } : { class: `c-${outcome}` });

const outcomes = () => model.hello?.outcomes ?? Object.keys(OUTCOMES);

// The hour up to now, or its last quarter where nothing came before, minute by minute: {minutes, rules}.
function hour() {
  const last = Math.floor(now() / 60) * 60;
  const first = firstUsed() ?? last;
  const many = last - first < YOUNG * 60 ? YOUNG : WHOLE;
  const minutes = Array.from({ length: many }, (_, index) => last - (many - 1 - index) * 60);
  const at = new Map((model.flow?.minutes ?? []).map((one, index) => [one, index]));
  const named = [...(model.hello?.rules ?? []), ...Object.keys(model.flow?.rules ?? {})];
  const rules = new Map([[ALL, {}]]);
  for (const rule of new Set(named)) {
    const told = model.flow?.rules[rule] ?? {}, mine = {};
    for (const outcome of outcomes()) {
      mine[outcome] = minutes.map((one) => told[outcome]?.[at.get(one)] ?? 0);
      const all = (rules.get(ALL)[outcome] ??= minutes.map(() => 0));
      mine[outcome].forEach((number, index) => (all[index] += number));
    }
    rules.set(rule, mine);
  }
  return { minutes, rules };
}

// The first minute in which anything came.
function firstUsed() {
  const each = Object.values(model.flow?.rules ?? {}).flatMap((told) => Object.values(told));
  return model.flow?.minutes.find((_, index) => each.some((counts) => counts[index] > 0));
}

export const totals = (series) => outcomes().map((one) => [one, sum(series[one])]);

export function flowOfAll(minutesBack) {
  const { rules } = hour();
  const all = rules.get(ALL);
  return Object.fromEntries(outcomes().map((one) => [one, sum((all[one] ?? []).slice(-minutesBack))]));
}

function niceTop(most) {
  const step = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 3, 4, 6, 8, 10].map((one) => one * step).find((one) => one >= most) ?? most;
}

function picture(name, series, minutes, width, height) {
  const whole = minutes.map((_, index) => outcomes().reduce((all, one) => all + (series[one]?.[index] ?? 0), 0));
  const top = niceTop(Math.max(...whole, 1));
  const step = (width - LEFT) / minutes.length;
  const floor = height - BOTTOM;
  const y = (value) => floor - (value / top) * (floor - TOP);
  const under = minutes.map(() => 0);
  const layers = outcomes().map((outcome) => {
    let d = "";
    (series[outcome] ?? []).forEach((value, index) => {
      if (value === 0) return;
      const x = LEFT + index * step;
      const bottom = y(under[index]).toFixed(1), wide = (step + 0.2).toFixed(1); // no seam between two columns
      under[index] += value;
      d += `M${x.toFixed(1)} ${bottom}V${y(under[index]).toFixed(1)}h${wide}V${bottom}z`;
    });
    return d && s("path", { d, ...paint(outcome) });
  });
  const grid = (height === TALL ? [0, 0.5, 1] : [0, 1]).map((part) => [
    s("line", { x1: LEFT, x2: width, y1: y(part * top), y2: y(part * top), class: "rule" }),
    s("text", { x: LEFT - 6, y: y(part * top) + 4, class: "tick end" }, compact(part * top)),
  ]);
  const ticks = minutes.map((one, index) => (one / 60) % (minutes.length / 4 > 4 ? 15 : 5) === 0 && index * step > HALF_TICK
    && s("text", { x: Math.min(width - HALF_TICK, LEFT + index * step), y: height - 3, class: "tick" }, minute(one)));
  const at = hovered === null ? -1 : minutes.indexOf(hovered);
  const cross = at >= 0 && s("rect", { x: LEFT + at * step, y: TOP, width: step, height: floor - TOP, class: "cross" });
  const said = totals(series).filter(([, number]) => number).map(([one, number]) => `${count(number)} ${one}`).join(", ") || "no requests";
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name}, last ${span(minutes)}: ${said}` },
    grid, layers, ticks, cross);
}

export function mountFlow() {
  const box = $("flow");
  box.addEventListener("pointermove", (event) => {
    const svg = event.target.closest("svg");
    const part = svg && (event.clientX - svg.getBoundingClientRect().left - LEFT) / (svg.clientWidth - LEFT);
    const { minutes } = hour();
    point(part > 0 && part < 1 ? minutes[Math.floor(part * minutes.length)] : null);
  });
  box.addEventListener("pointerleave", () => point(null));
  new ResizeObserver(() => renderFlow()).observe(box);
  $("flow-details").addEventListener("toggle", renderTable);
  $("flow-rule").addEventListener("input", renderTable);
}

function point(at) {
  if (at === hovered) return;
  hovered = at;
  renderFlow();
}

const span = (minutes) => (minutes.length === WHOLE ? "hour" : `${minutes.length} minutes`);

const swatch = (outcome) => s("svg", { class: "swatch", width: 12, height: 12, "aria-hidden": "true" },
  s("rect", { width: 12, height: 12, rx: 2, ...paint(outcome) }));

export function renderFlow() {
  const box = $("flow"), width = box.clientWidth;
  if (width === 0) return;
  const { minutes, rules } = hour();
  const at = hovered === null ? -1 : minutes.indexOf(hovered);
  const all = totals(rules.get(ALL)), whole = all.reduce((sofar, [, number]) => sofar + number, 0);
  show($("flow-legend"), h("li", { class: "when" }, at >= 0 ? minute(hovered) : `last ${span(minutes)}`),
    all.filter(([one, number]) => number || ["local", "spilled", "fallback"].includes(one)).map(([one, number]) => {
      const value = at >= 0 ? rules.get(ALL)[one][at] : number;
      const part = at < 0 && whole ? h("span", { class: "muted" }, ` ${percent(number / whole)}`) : null;
      return h("li", { title: OUTCOMES[one] }, swatch(one), ` ${one} `, h("b", null, count(value)), part);
    }));
  $("flow-when").textContent = `last ${span(minutes)}, by rule, per minute; times are ${zone()}`;
  const gap = 20, across = Math.max(1, Math.floor((width + gap) / (LEAST + gap)));
  const each = Math.floor((width - gap * (across - 1)) / across);
  const ordered = [...rules].filter(([name]) => name !== ALL)
    .map(([name, series]) => ({ name, series, number: totals(series).reduce((sofar, [, one]) => sofar + one, 0) }))
    .sort((a, b) => b.number - a.number);
  const pictures = ordered.filter((one) => one.number).map(({ name, series, number }) => {
    const home = sum(series.local) / number;
    return h("figure", { vars: { width: `${each}px` } },
      h("figcaption", null, h("b", null, ruleName(name)),
        h("span", { class: "muted" }, `${count(number)} · ${name === NO_RULE ? "before any rule" : `${percent(home)} local`}`)),
      picture(name === NO_RULE ? "Refused before a rule was found" : `Rule ${name}`, series, minutes, each, SMALL));
  });
  const unused = ordered.filter((one) => !one.number).map((one) => one.name);
  show(box, h("figure", { class: "whole" }, picture(ALL, rules.get(ALL), minutes, width, TALL)), pictures,
    unused.length > 0 && h("p", { class: "note whole" }, `Not used in the last ${span(minutes)}: ${unused.join(", ")}.`));
  if ($("flow-details").open) renderTable();
}

function renderTable() {
  if (!$("flow-details").open) return;
  const { minutes, rules } = hour();
  const chosen = rules.has($("flow-rule").value) ? $("flow-rule").value : ALL;
  show($("flow-rule"), [...rules.keys()].map((one) => h("option", { value: one }, ruleName(one))));
  $("flow-rule").value = chosen;
  const series = rules.get(chosen);
  show($("flow-table"), h("caption", { class: "visually-hidden" }, `${ruleName(chosen)}: requests per minute by outcome`),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Minute"), outcomes().map((one) => h("th", { scope: "col", class: "end" }, one)))),
    h("tbody", null, minutes.map((one, index) => [one, index]).reverse().map(([one, index]) =>
      h("tr", null, h("th", { scope: "row" }, minute(one)), outcomes().map((name) =>
        h("td", { class: "end" }, count(series[name]?.[index] ?? 0)))))));
}
