// What the feed has told so far. Views ask it; `changed` names what they should look at again.

export const model = { hello: null, workers: new Map(), flow: null, latency: null, money: null, policy: null, status: null };

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
    const { columns } = model.hello;
    for (const row of data.rows) {
      const worker = {};
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
  },
  flow(data) {
    if (data.all || model.flow === null) model.flow = { minutes: data.minutes, rules: data.rules };
    else model.flow = joined(model.flow, data);
  },
};
const past = new Map(); // outlives a new connection

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
