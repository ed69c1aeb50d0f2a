// Search for a receipt, and read why a request went where it went.

import { get, reason } from "./access.js";
import { $, h, show } from "./dom.js";
import { model } from "./model.js";
import { arrows, cell, facts, heads, muted, number, outcome, title } from "./parts.js";
import { because, moment, ms, OUTCOMES, plural, usd } from "./words.js";

const LIMIT = 50;
const FIELDS = ["outcome", "rule", "reason", "model", "upstream", "tenant"];
let rows = [], older = null, chosen = null, asked = new URLSearchParams();

export function mountReceipts() {
  show($("r-outcome"), h("option", { value: "" }, "any"), Object.keys(OUTCOMES).map((one) => h("option", { value: one }, one)));
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  $("older").addEventListener("click", () => more(older));
  $("found").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-id]");
    if (button) tell(button.dataset.id);
  });
}

export function renderRules() {
  const before = $("r-rule").value;
  show($("r-rule"), h("option", { value: "" }, "any"), (model.hello?.rules ?? []).map((one) => h("option", { value: one }, one)));
  $("r-rule").value = before;
}

export function openReceipts() {
  if (rows.length === 0) search();
}

async function search() {
  const id = $("r-id").value.trim();
  if (id) {
    await tell(id);
    return;
  }
  asked = new URLSearchParams({ limit: LIMIT });
  for (const name of FIELDS) if ($(`r-${name}`).value.trim()) asked.set(name, $(`r-${name}`).value.trim());
  const since = Number($("r-since").value);
  if (since) asked.set("since", Math.floor(Date.now() / 1000 - since));
  rows = [];
  await more(null);
}

async function more(from) {
  const query = new URLSearchParams(asked);
  if (from !== null) query.set("older", from);
  try {
    const told = await get(`receipts?${query}`);
    rows = [...rows, ...told.receipts];
    older = told.older ?? null;
    $("found-count").textContent = `${plural(rows.length, "receipt")}${older === null ? "" : ", and more"}, by their end, newest first`;
  } catch (fault) {
    older = null;
    $("found-count").textContent = reason(fault);
  }
  $("older-place").hidden = older === null;
  renderFound();
}

function renderFound() {
  show($("found"),
    heads("Asked at", "Outcome", "Rule", "Model", "Upstream", "Why", "First token#", "Cost#", "Tenant"),
    h("tbody", null, rows.length === 0 ? h("tr", null, h("td", { colspan: 9, class: "muted" }, "None fits.")) : rows.map(found)));
}

function found(one) {
  const mine = one.id === chosen, at = moment(one.time);
  const link = { type: "button", class: "link-like", "data-id": one.id, "aria-label": `${at}: why ${one.id}` };
  return h("tr", { class: mine ? "chosen" : null },
    title(h("button", { ...link, "aria-current": mine ? "true" : null }, at)),
    cell(outcome(one.outcome)), cell(one.rule), cell(one.model), cell(one.upstream), cell(one.reason),
    number(ms(one.ttft_ms)), number(usd(one.cost_usd)), cell(one.tenant));
}

export async function tell(id) {
  chosen = id;
  if (rows.length) renderFound();
  try {
    const { receipt, story } = await get(`receipts/${encodeURIComponent(id)}`);
    show($("story"), told(receipt, story));
  } catch (fault) {
    show($("story"), h("p", { class: "fault" }, reason(fault)));
  }
  $("h-story").focus();
}

function told(receipt, story) {
  const times = receipt.times ?? {};
  return [
    h("p", { class: "headline" }, outcome(receipt.outcome), " ", receipt.chosen ?? "nobody",
      receipt.reason ? muted(`: ${because(receipt.reason)}`) : null),
    h("ol", { class: "story" }, story.map((line) => h("li", null, arrows(line)))),
    facts([
      ["Request", receipt.id], ["When", moment(receipt.time)], ["Tenant", receipt.tenant], ["Model", receipt.model],
      ["Rule", receipt.rule], ["Policy", receipt.policy], ["Waited", ms(times.queue_ms)],
      ["First token", ms(times.ttft_ms)], ["In all", ms(times.total_ms)], ["Cost", usd(receipt.cost?.usd)],
    ]),
    h("details", null, h("summary", null, "The whole receipt"), h("pre", { tabindex: "0" }, JSON.stringify(receipt, null, 2))),
  ];
}
