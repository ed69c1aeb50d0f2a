// The same protocol as programs/features.py: features by name, one JSON line of each on stdout.
import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";

export const URL_ = process.env.GATEWAY_URL;
export const V1 = `${URL_}/v1`;
export const KEY = process.env.GATEWAY_KEY;
export const HELLO = [{ role: "user", content: "hello" }];
export const LOCAL = { "X-Data-Residency": "local" };
export const NOWHERE = { "X-Data-Residency": "atlantis" };
export const WEATHER = {
  name: "weather",
  description: "The weather of a city.",
  parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } },
};
export const ARGUMENTS = { city: "sim", days: 1 };
export const MODELS = ["busy", "chat", "claude-sonnet-4-5-20250929", "down", "full", "pic"];

/** Model `busy` turns the next request away; `ask` must last as long as that answer's Retry-After said. */
export async function fullHouse(ask) {
  const told = await (await fetch(process.env.DOOR_URL, { method: "POST" })).json();
  const began = performance.now();
  await ask();
  const seconds = (performance.now() - began) / 1000;
  assert(seconds >= told.retry_after, `tried again after ${seconds} s, told to wait ${told.retry_after} s`);
}

/** The client's own error, by its name, with this status and these words in what it carries. Returns its name. */
export async function rejects(ask, kind, status, ...words) {
  const error = await ask().then(
    () => assert.fail(`${kind} was not thrown`),
    (thrown) => thrown,
  );
  const told = [error.name, error.constructor.name].join(" ");
  assert(told.includes(kind), `${told}: ${error.message}`);
  assert.equal(error.status ?? error.statusCode, status);
  const carried = [error.message, error.code, JSON.stringify(error.error), error.responseBody].join(" ");
  for (const word of words) assert(carried.includes(word), `${word} not in: ${carried}`);
  return kind;
}

/** The lines of docs/clients.md below this heading, run from a file beside this one: packages are found from there. */
export const page = (heading) => async () => {
  const text = await readFile(new URL("../../../docs/clients.md", import.meta.url), "utf8");
  const section = text.split(`\n## ${heading}\n`)[1].split("\n## ")[0];
  const shown = section.match(/```js\n(.*?)```/s)[1].replace("http://127.0.0.1:8080", URL_).replace("my-key", KEY);
  const file = new URL(`./page-${process.pid}.mjs`, import.meta.url);
  await writeFile(file, shown);
  const told = [];
  const { log } = console;
  console.log = (...words) => told.push(...words);
  await import(file).finally(() => rm(file)).finally(() => (console.log = log));
  assert(told.join("").trim());
};

export async function run(features) {
  for (const [feature, attempt] of Object.entries(features)) {
    let said = "";
    let passed = true;
    try {
      said = (await attempt()) ?? "";
    } catch (error) {
      [said, passed] = [`${error.name}: ${error.message}`, false];
    }
    console.log(JSON.stringify({ feature, passed, said: String(said).slice(0, 400) }));
  }
}
