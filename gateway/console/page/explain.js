// What would happen to a request. Its text goes into the body of one call and nowhere else: not into the address, not
// into storage, not into the console.

import { get, post, reason } from "./access.js";
import { $, h, show } from "./dom.js";
import { because, count, ms, NONE, percent, usd } from "./words.js";

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

export function forgetRequest() {
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
  $("explain-fault").textContent = "";
  try {
    JSON.parse(text);
  } catch {
    $("explain-fault").textContent = "✕ This is not JSON."; // what the parser says quotes the text
    $("request").focus();
    return;
  }
  try {
    show($("decision"), told(await post("explain", text)));
    $("h-decision").focus();
  } catch (fault) {
    $("explain-fault").textContent = `✕ ${reason(fault)}`;
  }
}

function told(story) {
  const { result } = story, { outcome } = result;
  const line = outcome ? [h("span", { class: `outcome o-${outcome}` }, outcome), ` → ${result.upstream}`, h("span", { class: "muted" }, `: ${because(result.reason)}`)]
    : [h("span", { class: "outcome o-refused" }, `${result.status} ${result.code}`), ` ${result.message}`];
  return [
    h("p", { class: "headline" }, line),
    result.waits ? h("p", null, `It waits about ${result.waits} s first.`) : null,
    h("p", { class: "muted" }, story.rule ? ["Rule ", h("code", null, story.rule), " of policy "] : "Policy ", h("code", null, story.policy),
      story.residency.length ? `; residency: ${story.residency.join(", ")}` : ""),
    story.upstreams.length > 0 && h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who could take it" }, h("table", null,
      h("thead", null, h("tr", null, ["Upstream", "Load", "With it", "First token", "Cost", "Verdict"].map((one, place) => h("th", { scope: "col", class: place > 0 && place < 5 ? "end" : null }, one)))),
      h("tbody", null, story.upstreams.map((row) => candidate(row, result))))),
    section("Also", story.notes),
    section("Rules before it that did not match", story.missed.map((one) => `${one.rule}: ${one.condition} is ${one.found}, not ${one.wants}`)),
    section("What would change it", story.changes.map((one) => one.text)),
  ];
}

function candidate(row, result) {
  const mine = row.upstream === result.upstream;
  const verdict = row.dropped ? `✕ ${row.dropped}${row.why ? `: ${row.why}` : ""}` : mine ? "✓ takes it" : row.room === false ? "○ has no room" : "● could take it";
  return h("tr", { class: mine ? "chosen" : null }, h("th", { scope: "row" }, row.upstream, h("span", { class: "muted" }, ` ${row.role ?? ""}`)),
    h("td", { class: "end" }, percent(row.load)), h("td", { class: "end" }, percent(row.after)), h("td", { class: "end" }, ms(row.first_ms)),
    h("td", { class: "end" }, row.usd === undefined ? NONE : usd(row.usd)), h("td", { class: row.dropped ? "over" : null }, verdict));
}

const section = (title, lines) => lines.length > 0 && [h("h3", null, title), h("ul", { class: "plain", "aria-label": `${title} (${count(lines.length)})` }, lines.map((line) => h("li", null, line.replaceAll("->", "→"))))];
