// Which policy each replica follows, and trials of another one.

import { post } from "./access.js";
import { confirmed } from "./ask.js";
import { $, h, say, show } from "./dom.js";
import { model } from "./model.js";
import { count, percent, plural } from "./words.js";
import { act } from "./worker.js";

const YAML = /^[^./][^/]*\.ya?ml$/; // as the gateway reads a folder: directly in it, not hidden

export function mountPolicy() {
  $("mode").addEventListener("input", () => ($("share-field").hidden = $("mode").value !== "share"));
  $("folder").addEventListener("change", () => {
    const names = chosen().map(([name]) => name);
    $("folder-note").textContent = names.length ? `To be sent: ${names.join(", ")}` : "There is no YAML file directly in that folder.";
  });
  $("rollout").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  $("reload").addEventListener("click", reload);
  $("trial").addEventListener("click", (event) => {
    if (event.target.id === "promote") promote();
    if (event.target.id === "stop-trial") stop();
  });
}

const name = (file) => (file.webkitRelativePath || file.name).split("/").slice(file.webkitRelativePath ? 1 : 0).join("/");
const chosen = () => [...$("folder").files].map((file) => [name(file), file]).filter(([one]) => YAML.test(one));
const replicas = () => Math.max(1, model.policy?.replicas.length ?? 1);

async function start() {
  const files = chosen();
  if (files.length === 0) {
    say("there is no YAML file directly in that folder", true);
    return;
  }
  const mode = $("mode").value, share = Number($("share").value) / 100;
  const how = mode === "shadow"
    ? "Every request is decided by it too and nothing follows from that: you see what would differ."
    : `It decides ${percent(share)} of the sessions for real: they may be served elsewhere and cost something else.`;
  const given = await confirmed({
    title: "Start a trial?",
    consequence: [`${plural(files.length, "file")} (${files.map(([one]) => one).join(", ")}) ${files.length === 1 ? "goes" : "go"} to ${plural(replicas(), "replica")}, beside ${model.policy?.in_force ?? "the policy in force"}.`, how],
    action: "Start the trial",
  });
  if (given === null) return;
  const texts = Object.fromEntries(await Promise.all(files.map(async ([one, file]) => [one, await file.text()])));
  const done = await act(() => post("policies/rollout", { mode, files: texts, ...(mode === "share" ? { share } : {}) }), (told) => `${told.candidate} is tried beside ${told.beside}`);
  if (done !== null) $("rollout").reset();
}

async function promote() {
  const { candidate, in_force: old } = model.policy;
  const given = await confirmed({
    title: `Promote ${candidate.version}?`,
    consequence: [`${candidate.version} decides every request on ${plural(replicas(), "replica")} within two seconds, in place of ${old}.`, "Folders on disk are left as they are: change them too, or the next edit there brings the old rules back."],
    action: `Promote ${candidate.version}`,
    danger: true,
  });
  if (given !== null) await act(() => post("policies/rollout/promote"), (told) => `${told.in_force} is in force`);
}

async function stop() {
  const { candidate, in_force: old } = model.policy;
  const given = await confirmed({ title: `Stop the trial of ${candidate.version}?`, consequence: [`Nothing is decided by it any more, and what was counted is gone. ${old} stays in force.`], action: "Stop the trial" });
  if (given !== null) await act(() => post("policies/rollout/stop"), (told) => `the trial is over; in force is ${told.in_force}`);
}

async function reload() {
  const given = await confirmed({ title: "Read the policy folder now?", consequence: ["The replica that you see reads its folder. If it changed and compiles, it takes effect here and on every replica that shares its policy; if not, nothing changes."], action: "Read it" });
  if (given !== null) await act(() => post("policies/reload"), (told) => (told.changed ? `${told.version} is in force` : "nothing has changed"));
}

export function renderPolicy() {
  const told = model.policy;
  if (!told) return;
  const rows = [...told.replicas].sort((a, b) => String(a.replica).localeCompare(String(b.replica)));
  show($("policy"),
    h("p", { class: told.differ ? "verdict bad" : "verdict" }, told.differ ? "✕ The replicas do not follow the same policy." : "✓ All replicas follow ", told.differ ? null : h("code", null, told.in_force)),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Replicas" }, h("table", null,
      h("thead", null, h("tr", null, ["Replica", "Version", "Trial", "Faults"].map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", null, rows.map((row) => {
        const other = row.version !== told.in_force;
        const faults = [...(row.faults ?? []), ...(row.store_faults ?? [])];
        const trial = row.trial?.version ?? (typeof row.trial === "string" ? row.trial : null);
        return h("tr", null, h("th", { scope: "row" }, row.host ? `${row.host} · ${row.pid}` : row.replica, row.replica === model.hello?.replica ? h("span", { class: "muted" }, " (this one)") : null),
          h("td", { class: other ? "over" : null }, other ? "✕ " : "", h("code", null, row.version)), h("td", null, trial ? h("code", null, trial) : "–"),
          h("td", { class: faults.length ? "over" : "muted" }, faults.length ? faults.join(" · ") : "none"));
      })))));
  show($("stored"), told.stored.length === 0 ? h("li", { class: "muted" }, "none") : told.stored.map((one) => h("li", null, h("code", null, one), one === told.in_force ? h("span", { class: "tag" }, "in force") : null)));
  $("rollout").hidden = told.candidate !== null;
  show($("trial"), told.candidate === null ? null : trialCard(told.candidate));
}

function trialCard(candidate) {
  const tally = candidate.tally ?? {}, compared = (tally.same ?? 0) + (tally.different ?? 0) + (tally.renamed ?? 0);
  const tried = (tally.tried ?? 0) + (tally.kept ?? 0);
  const shadow = candidate.mode === "shadow";
  return h("div", { class: "pad" },
    h("p", null, h("code", null, candidate.version), shadow ? " is tried in the shadow." : ` decides ${percent(candidate.share)} of the sessions.`),
    shadow
      ? [h("p", null, h("b", null, compared ? percent(tally.different / compared) : "–"), ` of ${count(compared)} requests would be decided differently`, tally.renamed ? `, ${count(tally.renamed)} by a rule of another name only` : "", "."),
        h("ul", { class: "note" }, Object.entries(tally.fields ?? {}).sort((a, b) => b[1] - a[1]).map(([field, number]) => h("li", null, `${field}: ${count(number)}`)))]
      : h("p", null, `It has decided ${count(tally.tried ?? 0)} of ${count(tried)} requests.`),
    h("div", { class: "row" }, h("button", { type: "button", class: "danger", id: "promote" }, "Promote…"), h("button", { type: "button", id: "stop-trial" }, "Stop…")));
}
