// What would happen to a request. Its text goes into the body of one call and nowhere else: not into the address, not
// into storage, not into the console.

import { get, post, questions, reason } from "./access.js";
import { $, h, show } from "./dom.js";
import { arrows, cell, code, heads, list, muted, number, outcome, title, wide } from "./parts.js";
import { because, ms, percent, plural, usd } from "./words.js";

const NOBODYS = "local"; // the tenant of loopback callers where the policy has none
const EXAMPLE = { model: "llama-3.3-70b", max_tokens: 200, messages: [{ role: "user", content: "hello" }] };

export function mountExplain() {
  $("explain").addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
  $("example").addEventListener("click", example);
  $("explain-clear").addEventListener("click", () => forgetRequest());
}

const asking = questions();

export function forgetRequest() {
  asking(); // what is on its way is not shown any more
  $("request").value = "";
  $("explain-fault").textContent = "";
  show($("decision"), h("p", { class: "muted" }, "Nothing is asked."));
}

// A model and a tenant that there are: those of the newest request.
async function example() {
  const { receipts } = await get("receipts?limit=1").catch(() => ({ receipts: [] }));
  const { model, tenant } = receipts[0] ?? {};
  const body = { ...EXAMPLE, ...(model ? { model } : {}) };
  const asked = tenant && tenant !== NOBODYS ? { tenant, body } : body;
  $("request").value = JSON.stringify(asked, null, 2);
}

async function explain() {
  const text = $("request").value;
  const newest = asking();
  $("explain-fault").textContent = "";
  try {
    JSON.parse(text);
  } catch {
    $("explain-fault").textContent = "✕ This is not JSON."; // what the parser says quotes the text
    $("request").focus();
    return;
  }
  try {
    const story = await post("explain", text);
    if (!newest()) return;
    show($("decision"), told(story));
    $("h-decision").focus();
  } catch (fault) {
    if (newest()) $("explain-fault").textContent = `✕ ${reason(fault)}`;
  }
}

function told(story) {
  const { result } = story;
  const missed = story.missed.map((one) => `${one.rule}: ${one.condition} is ${one.found}, not ${one.wants}`);
  return [
    h("p", { class: "headline" }, headline(result)),
    result.waits ? h("p", null, `It waits about ${result.waits} s first.`) : null,
    h("p", { class: "muted" },
      story.rule ? ["Rule ", code(story.rule), " of policy "] : "Policy ", code(story.policy),
      story.residency.length ? `; residency: ${story.residency.join(", ")}` : ""),
    story.upstreams.length > 0 && wide("Who could take it", h("table", null,
      heads("Upstream", "Verdict", "Load#", "With it#", "First token#", "Cost#"),
      h("tbody", null, story.upstreams.map((row) => candidate(row, result))))),
    section("Also", story.notes),
    section("Rules before it that did not match", missed),
    section("What would change it", story.changes.map((one) => one.text)),
  ];
}

function headline(result) {
  if (!result.outcome) return [outcome("refused", `${result.status} ${result.code}`), ` ${result.message}`];
  return [outcome(result.outcome), ` → ${result.upstream}`, muted(`: ${because(result.reason)}`)];
}

function verdict(row, takesIt, waits) {
  if (row.dropped) return `✕ ${row.dropped}${row.why ? `: ${row.why}` : ""}`;
  if (takesIt) return waits ? `✓ takes it, in about ${waits} s` : "✓ takes it";
  if (row.room !== false) return "● could take it";
  if (row.inflight >= row.seats) return `○ no room: ${row.inflight} of ${plural(row.seats, "seat")} taken`;
  return row.may_fill < 1 ? `○ no room: its class may fill ${percent(row.may_fill)}` : "○ no room";
}

function candidate(row, result) {
  const takesIt = row.upstream === result.upstream;
  return h("tr", { class: takesIt ? "chosen" : null },
    title(row.upstream, muted(` ${row.role ?? ""}`)),
    cell(verdict(row, takesIt, result.waits), row.dropped ? "over" : null),
    number(percent(row.load)), number(percent(row.after)), number(ms(row.first_ms)), number(usd(row.usd)));
}

const section = (name, lines) => lines.length > 0 && [h("h3", null, name), list(lines.map(arrows), { class: "plain", "aria-label": name })];
