// The official OpenAI client for Node.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { ARGUMENTS, fullHouse, HELLO, KEY, LOCAL, MODELS, NOWHERE, page, rejects, run, V1, WEATHER } from "./features.mjs";

const made = (given = {}) => new OpenAI({ baseURL: V1, apiKey: KEY, maxRetries: 0, timeout: 20_000, ...given });
const client = made();
const ask = (given = {}, of = client) => of.chat.completions.create({ model: "chat", messages: HELLO, ...given });

await run({
  async chat() {
    const answer = await ask();
    assert(answer.choices[0].message.content);
    assert(answer.usage.completion_tokens > 0);
  },
  async stream() {
    const chunks = [];
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    assert(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""));
    assert(chunks.at(-1).usage.completion_tokens > 0);
  },
  async tools() {
    const answer = await ask({ tools: [{ type: "function", function: WEATHER }], tool_choice: "required" });
    const [call] = answer.choices[0].message.tool_calls;
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["weather", ARGUMENTS]);
  },
  async embeddings() {
    assert.equal((await client.embeddings.create({ model: "chat", input: ["a", "b"] })).data.length, 2);
  },
  async images() {
    const answer = await client.images.generate({ model: "pic", prompt: "a fox", size: "512x512" });
    assert.equal(Buffer.from(answer.data[0].b64_json, "base64").toString("latin1", 1, 4), "PNG");
  },
  async responses() {
    assert((await client.responses.create({ model: "chat", input: "hello" })).output_text);
  },
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.deepEqual(names.sort(), MODELS);
  },
  401: () => rejects(() => ask({}, made({ apiKey: "wrong" })), "AuthenticationError", 401, "invalid_key"),
  429: () => rejects(() => ask({ model: "full" }), "RateLimitError", 429, "fleet_saturated"),
  503: () => rejects(() => ask({ model: "down" }), "InternalServerError", 503, "no_capacity"),
  retry: () => fullHouse(() => ask({ model: "busy", max_tokens: 2 }, made({ maxRetries: 2 }))),
  async header() {
    await ask({}, made({ defaultHeaders: LOCAL }));
    await rejects(() => ask({}, made({ defaultHeaders: NOWHERE })), "BadRequestError", 400, "residency_unknown");
  },
  page: page("OpenAI for Node"),
});
