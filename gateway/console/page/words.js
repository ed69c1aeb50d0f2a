// Numbers and names as people read them. Null is unknown and shown as a dash, never as 0.

export const NONE = "–";

const known = (make) => (value, ...more) => (value === null || value === undefined ? NONE : make(value, ...more));
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const brief = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = known((value) => whole.format(value));
export const compact = known((value) => (value < 10000 ? whole.format(value) : brief.format(value)));
export const percent = known((share) => {
  const value = share * 100;
  const digits = value === 0 || value >= 100 || (value >= 10 && value < 99) ? 0 : 1;
  return `${value.toFixed(digits)} %`;
});
// As exact as a promise: 99.71 %, 99 %.
export const exactly = known((share) => `${Number((share * 100).toFixed(2))} %`);
export const usd = known((value) => {
  const size = Math.abs(value);
  const digits = size === 0 || size >= 1 ? 2 : size >= 0.01 ? 3 : 6;
  const text = size.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${value < 0 ? "-" : ""}$${text}`;
});
export const ms = known((value) => (value < 10000 ? `${whole.format(value)} ms` : `${(value / 1000).toFixed(1)} s`));

const HM = { hour: "2-digit", minute: "2-digit", hour12: false };
export const minute = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB", HM);
export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB", { ...HM, second: "2-digit" });
export const moment = known((unix) => {
  const date = new Date(unix * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(unix) : `${date.toLocaleDateString("en-CA")} ${clock(unix)}`;
});

// The zone of all times on the page: UTC+02:00.
export function zone(date = new Date()) {
  const ahead = -date.getTimezoneOffset(), two = (number) => String(Math.floor(number)).padStart(2, "0");
  return ahead === 0 ? "UTC" : `UTC${ahead > 0 ? "+" : "-"}${two(Math.abs(ahead) / 60)}:${two(Math.abs(ahead) % 60)}`;
}

export function ago(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

// The feed's name for requests that were refused before a rule was found.
export const NO_RULE = "-";
export const ruleName = (rule) => (rule === NO_RULE ? "no rule" : rule);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export const OUTCOMES = {
  local: "served at home",
  spilled: "bought: no room at home",
  fallback: "bought: something failed at home",
  managed: "bought: by rule",
  refused: "refused",
  failed: "failed",
  left: "the client left",
};

// gateway/model/words.py has the reasons.
export const REASONS = {
  local_has_room: "a worker at home had room for it",
  slo_limit: "one more request would have cost those at home their latency promise",
  queue_wait: "it had waited for a place at home as long as its rule allows",
  kv_pressure: "the KV caches at home were too full",
  outside_load: "others who use the workers directly had filled them",
  spill_when: "a condition of its rule says so",
  no_healthy_worker: "no worker at home could take anything",
  residency: "its data must stay",
  cheaper: "it was cheap to buy, and room at home is kept for what is not",
  budget: "the budget for buying is used up",
  stale: "nothing was known that is fresh of the workers at home",
  capability: "no worker at home can do what it asks for",
  rule: "its rule names no worker of ours",
  hedged: "it was asked beside one that was slow",
  rescued: "it wrote the rest of an answer that had broken off",
};
export const because = (reason) => (reason ? REASONS[reason] ?? reason : null);

// gateway/console/candidates.py says what becomes of a candidate: a sign, words, a class.
export const ENDS = {
  took_it: ["✓", "took it", null],
  failed: ["✕", "was asked in vain", "over"],
  left: ["●", "was asked; the client left", null],
  slower: ["●", "was asked; another was faster", null],
  cut: ["●", "was asked; the gateway was shut down", null],
  no_room: ["○", "no room for it", "over"],
  passed_over: ["●", "was not taken", null],
};

// Why upstreams were not even candidates: gateway/routing/filters.py has the names, those beside them stand as they are.
export const DROPS = {
  residency: "the data must not go there",
  capability: "cannot do what the request asks for",
  dedicated: "kept for other models",
  gpu_memory: "its GPUs cannot hold the model",
  drained: "drained: takes nothing new",
  health: "out: unhealthy, or failing",
  asleep: "asleep: its weights are put away",
  model_loaded: "does not have the model loaded",
  max_cost: "would cost more than may be spent",
  fields: "fields of the request may not go there",
  failed_before: "had failed this request before",
};

// Why a worker is out: one word each in gateway/fleet/breaker.py, probes.py and gateway/upstreams/workers.py. Those of
// people, and of GPUs, are sentences already.
const WHYS = {
  failing: "breaker open: failing",
  errors: "breaker open: errors",
  slow: "breaker open: slow",
  unreachable: "nobody answers there",
  not_ready: "says that it is not ready",
  rate_limited: "has asked us to wait",
  asked_to_wait: "has asked us to wait",
  key_refused: "refuses our key",
  no_metrics: "tells no metrics",
};
export const why = (row) => WHYS[row.why] ?? row.why ?? "";

// Of a budget's period, as its name in the store begins: 2026-11-22, 2026-11, total.
export const period = (name) => (name === "total" ? "in all" : name.length === 7 ? "this month" : "today");

export const STATES = {
  out: ["✕", "bad"],
  drained: ["■", "warn"],
  draining: ["▼", "warn"],
  warming: ["◐", "info"],
  asleep: ["○", "info"],
  up: ["●", "ok"],
};
// Worst first: the order in which the table sorts them.
