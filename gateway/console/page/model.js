// What the feed has told so far. Views ask it; `changed` names what they should look at again.

export const model = { hello: null, workers: new Map(), names: 0, flow: null, latency: null, money: null, policy: null, status: null };
// `names` is another number where workers came or went.

let ahead = 0; // seconds that the gateway's clock is ahead of this one
export const now = () => Date.now() / 1000 + ahead;

const KEPT_READINGS = 180; // of each worker, for the line in its detail: some minutes

const take = {
  hello(data) {
    model.hello = data;
    if (data.now !== undefined) ahead = data.now - Date.now() / 1000;
  },
  fleet(data) {
    if (data.all) model.workers.clear();
    const before = model.workers.size;
    const { columns } = model.hello, named = columns.indexOf("name");
    for (const row of data.rows) {
      const worker = { rank: ranks.get(row[named]) };
      columns.forEach((name, index) => (worker[name] = row[index]));
      worker.past = model.workers.get(worker.name)?.past ?? past.get(worker.name) ?? [];
      worker.past.push([data.now, worker.load]);
      if (worker.past.length > KEPT_READINGS) worker.past.shift();
      model.workers.set(worker.name, worker);
      past.set(worker.name, worker.past);
    }
    for (const name of data.gone ?? []) {
      model.workers.delete(name);
      past.delete(name);
    }
    if (data.all || data.gone?.length || model.workers.size !== before) model.names++;
  },
  flow(data) {
    if (data.all || model.flow === null) model.flow = { minutes: data.minutes, rules: data.rules };
    else model.flow = joined(model.flow, data);
  },
};
const past = new Map(); // outlives a new connection
const ranks = new Map();
const natural = new Intl.Collator("en", { numeric: true });

// Gives each worker its name's place among all, so that sorting compares numbers; the names of all backends.
export function rank() {
  ranks.clear();
  [...model.workers.keys()].sort(natural.compare).forEach((name, place) => {
    ranks.set(name, place);
    model.workers.get(name).rank = place;
  });
  return [...new Set([...model.workers.values()].map((row) => row.backend))].sort(natural.compare);
}

const MINUTES = 60;

// The hour with those minutes put in that came; what is older than it goes.
function joined(hour, news) {
  const minutes = [...new Set([...hour.minutes, ...news.minutes])].sort((a, b) => a - b).slice(-MINUTES);
  const rules = {};
  for (const rule of new Set([...Object.keys(hour.rules), ...Object.keys(news.rules)])) {
    const outcomes = new Set([...Object.keys(hour.rules[rule] ?? {}), ...Object.keys(news.rules[rule] ?? {})]);
    rules[rule] = {};
    for (const outcome of outcomes) {
      const at = new Map(hour.minutes.map((minute, index) => [minute, hour.rules[rule]?.[outcome]?.[index] ?? 0]));
      news.minutes.forEach((minute, index) => at.set(minute, news.rules[rule]?.[outcome]?.[index] ?? 0));
      rules[rule][outcome] = minutes.map((minute) => at.get(minute) ?? 0);
    }
  }
  return { minutes, rules };
}

export function apply(kind, data) {
  if (kind in take) take[kind](data);
  else if (kind in model) model[kind] = data;
}

export const sum = (numbers) => (numbers ?? []).reduce((all, one) => all + one, 0);
