// Which policy each replica follows, and trials of another one.

import { post } from "./access.js";
import { confirmed } from "./ask.js";
import { $, h, show } from "./dom.js";
import { model } from "./model.js";
import { button, cell, code, heads, list, muted, title, wide } from "./parts.js";
import { count, percent, plural } from "./words.js";

const YAML = /^[^./][^/]*\.ya?ml$/; // as the gateway reads a folder: directly in it, not hidden

export function mountPolicy() {
  $("mode").addEventListener("input", () => ($("share-field").hidden = $("mode").value !== "share"));
  $("folder").addEventListener("change", () => {
    $("rollout-fault").textContent = "";
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
    $("rollout-fault").textContent = "✕ Choose a folder with YAML files directly in it.";
    return;
  }
  const mode = $("mode").value, share = Number($("share").value) / 100;
  const how = mode === "shadow"
    ? "Every request is decided by it too and nothing follows from that: you see what would differ."
    : `It decides ${percent(share)} of the sessions for real: they may be served elsewhere and cost something else.`;
  const names = files.map(([one]) => one).join(", "), goes = files.length === 1 ? "goes" : "go";
  const old = model.policy?.in_force ?? "the policy in force";
  const told = await confirmed({
    title: "Start a trial?",
    consequence: [`${plural(files.length, "file")} (${names}) ${goes} to ${plural(replicas(), "replica")}, beside ${old}.`, how],
    action: "Start the trial",
    doing: async () => {
      const texts = Object.fromEntries(await Promise.all(files.map(async ([one, file]) => [one, await file.text()])));
      return post("policies/rollout", { mode, files: texts, ...(mode === "share" ? { share } : {}) });
    },
    done: ({ candidate, beside }) => `${candidate} is tried beside ${beside}`,
  });
  if (told !== null) $("rollout").reset();
}

async function promote() {
  const { candidate, in_force: old } = model.policy;
  await confirmed({
    title: `Promote ${candidate.version}?`,
    consequence: [
      `${candidate.version} decides every request on ${plural(replicas(), "replica")} within two seconds, in place of ${old}.`,
      "Folders on disk are left as they are: change them too, or the next edit there brings the old rules back.",
    ],
    action: `Promote ${candidate.version}`,
    doing: () => post("policies/rollout/promote", { version: candidate.version }), // not what came in between
    done: (told) => `${told.in_force} is in force`,
    danger: true,
  });
}

async function stop() {
  const { candidate, in_force: old } = model.policy;
  await confirmed({
    title: `Stop the trial of ${candidate.version}?`,
    consequence: [`Nothing is decided by it any more, and what was counted is gone. ${old} stays in force.`],
    action: "Stop the trial",
    doing: () => post("policies/rollout/stop", { version: candidate.version }),
    done: (told) => `the trial is over; in force is ${told.in_force}`,
  });
}

async function reload() {
  await confirmed({
    title: "Read the policy folder now?",
    consequence: [
      "The replica that answers reads its folder. If that changed and compiles, it takes effect there and on every replica that shares its policy.",
      "If not, nothing changes.",
    ],
    action: "Read it",
    doing: () => post("policies/reload"),
    done: (told) => (told.changed ? `${told.version} is in force` : "nothing has changed"),
  });
}

export function renderPolicy() {
  const told = model.policy;
  if (!told) return;
  const rows = [...told.replicas].sort((a, b) => String(a.replica).localeCompare(String(b.replica)));
  show($("policy"),
    told.differ
      ? h("p", { class: "verdict bad" }, "✕ The replicas do not follow the same policy.")
      : h("p", { class: "verdict" }, "✓ All replicas follow ", code(told.in_force)),
    wide("Replicas", h("table", null, heads("Replica", "Version", "Trial", "Faults"),
      h("tbody", null, rows.map((row) => replica(row, told.in_force))))));
  const tags = { [told.candidate?.version]: "on trial", [told.in_force]: "in force" };
  const stored = told.stored.map((one) => [code(one), tags[one] ? h("span", { class: `tag ${one === told.in_force ? "" : "trial"}` }, tags[one]) : null]);
  show($("stored"), stored.length ? stored.map((one) => h("li", null, one)) : h("li", { class: "muted" }, "none"));
  $("rollout").hidden = told.candidate !== null;
  show($("trial"), told.candidate === null ? null : trialCard(told.candidate));
}

function replica(row, inForce) {
  const other = row.version !== inForce;
  const faults = [...(row.faults ?? []), ...(row.store_faults ?? [])];
  return h("tr", null,
    title(row.host ? `${row.host} · ${row.pid}` : row.replica, row.replica === model.hello?.replica ? muted(" (this one)") : null),
    cell([other ? "✕ " : "", code(row.version)], other ? "over" : null),
    cell(row.trial ? code(row.trial.version) : null),
    cell(faults.length ? faults.join(" · ") : "none", faults.length ? "over" : "muted"));
}

function trialCard(candidate) {
  const tally = candidate.tally ?? {};
  const shadow = candidate.mode === "shadow";
  return h("div", { class: "pad" },
    h("p", null, code(candidate.version), shadow ? " is tried in the shadow: nothing follows from what it decides." : ` decides ${percent(candidate.share)} of the sessions.`),
    shadow ? compared(tally) : h("p", null, `It has decided ${count(tally.tried ?? 0)} of ${count((tally.tried ?? 0) + (tally.kept ?? 0))} requests.`),
    h("div", { class: "row" }, button("promote", "Promote…", "danger"), button("stop-trial", "Stop…")));
}

function compared(tally) {
  const whole = (tally.same ?? 0) + (tally.different ?? 0) + (tally.renamed ?? 0);
  const fields = Object.entries(tally.fields ?? {}).sort((a, b) => b[1] - a[1]);
  return [
    h("p", null, h("b", null, percent(whole ? (tally.different ?? 0) / whole : null)), ` of ${count(whole)} requests would be decided differently`,
      tally.renamed ? `; of ${count(tally.renamed)} more only the rule has another name.` : "."),
    fields.length > 0 && [h("p", { class: "note" }, "What would be another:"),
      list(fields.map(([field, times]) => `${field} of ${plural(times, "request")}`), { class: "note differing" })],
  ];
}
