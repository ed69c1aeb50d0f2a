// Search for a receipt, and read why a request went where it went.

import { get, questions, reason } from "./access.js";
import { $, h, show } from "./dom.js";
import { model } from "./model.js";
import { arrows, cell, facts, heads, muted, number, outcome, title, wide } from "./parts.js";
import { because, DROPS, ENDS, moment, ms, NONE, OUTCOMES, percent, plural, usd } from "./words.js";

const LIMIT = 50;
const FIELDS = ["outcome", "rule", "reason", "model", "upstream", "tenant"];
const searching = questions(), telling = questions();
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
  $("found-count").textContent = "Searching…";
  asked = new URLSearchParams({ limit: LIMIT });
  for (const name of FIELDS) if ($(`r-${name}`).value.trim()) asked.set(name, $(`r-${name}`).value.trim());
  const since = Number($("r-since").value);
  if (since) asked.set("since", Math.floor(Date.now() / 1000 - since));
  rows = [];
  older = null;
  await more(null);
}

async function more(from) {
  const query = new URLSearchParams(asked);
  if (from !== null) query.set("older", from);
  const newest = searching();
  let wrong = null;
  try {
    const told = await get(`receipts?${query}`);
    if (!newest()) return;
    rows = from === null ? told.receipts : [...rows, ...told.receipts];
    older = told.older ?? null;
  } catch (fault) {
    if (!newest()) return;
    wrong = `✕ Not found out: ${reason(fault)}`;
  }
  $("found-fault").textContent = wrong ?? "";
  $("found-count").textContent = wrong && !rows.length ? "" : `${plural(rows.length, "receipt")}${older === null ? "" : ", and more"}, by their end, newest first`;
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
  const newest = telling();
  chosen = id;
  if (rows.length) renderFound();
  let shown;
  try {
    shown = told(await get(`receipts/${encodeURIComponent(id)}`));
  } catch (fault) {
    shown = h("p", { class: "fault" }, `✕ ${reason(fault)}`);
  }
  if (!newest()) return;
  show($("story"), shown);
  $("h-story").focus();
}

function told({ receipt, story, candidates = [] }) { // a replica of before them tells none
  const times = receipt.times ?? {};
  return [
    h("p", { class: "headline" }, outcome(receipt.outcome), " ", receipt.chosen ?? "nobody",
      receipt.reason ? muted(`: ${because(receipt.reason)}`) : null),
    h("ol", { class: "story" }, story.map((line) => h("li", null, arrows(line)))),
    lookedAt(candidates, receipt.drops ?? {}, receipt.cut),
    facts([
      ["Request", receipt.id], ["When", moment(receipt.time)], ["Tenant", receipt.tenant], ["Model", receipt.model],
      ["Rule", receipt.rule], ["Policy", receipt.policy], ["Waited", ms(times.queue_ms)],
      ["First token", ms(times.ttft_ms)], ["In all", ms(times.total_ms)], ["Cost", usd(receipt.cost?.usd)],
    ]),
    h("details", null, h("summary", null, "The whole receipt"), h("pre", { tabindex: "0" }, JSON.stringify(receipt, null, 2))),
  ];
}

// Whom the decision looked at, in its order, and how many it did not even look at.
function lookedAt(candidates, drops, cut) {
  const dropped = Object.entries(drops);
  if (candidates.length === 0 && dropped.length === 0) return null;
  return [wide("Candidates", h("table", { class: "candidates", "aria-describedby": "of-candidates" },
    h("caption", null, "Candidates, in the order of the decision"),
    heads("Candidate", "What became of it", "Load#", "With it#", "Limit#", "Score#", "Metrics' age#"),
    h("tbody", null, candidates.map(candidate),
      dropped.map(([why, number]) => h("tr", null, title(muted(plural(number, "upstream"))),
        h("td", { colspan: 6, class: "muted" }, `✕ dropped: ${DROPS[why] ?? why}`)))))),
  h("p", { class: "note", id: "of-candidates" },
    "Loads and limits are those of the request's class, as they were then. Whose seats were all taken was full, too, whatever its load.",
    cut ? " The receipt was cut to 2 KB: not all are here." : null)];
}

function candidate(one) {
  const [sign, said, kind] = ENDS[one.end] ?? ["?", one.end, null];
  const limit = one.limit_s !== null ? `${one.limit_s.toFixed(2)} GPU s` : one.limit !== null ? plural(one.limit, "request") : null;
  const whose = one.kind === null ? "not in this policy any more" : `${one.backend}, ${one.kind === "local" ? "ours" : "bought"}`;
  return h("tr", { class: one.end === "took_it" ? "chosen" : null },
    title(one.upstream, h("span", { class: "note" }, whose)),
    cell(`${sign} ${said}${one.why ? `: ${one.why}` : ""}`, kind),
    number(percent(one.load)), cell(percent(one.with_it), one.end === "no_room" ? "end over" : "end"), number(limit),
    number(one.score === null ? NONE : one.score.toFixed(3)), number(ms(one.age_ms)));
}
