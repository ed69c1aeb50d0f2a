// The official Anthropic client for Node.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { ARGUMENTS, fullHouse, HELLO, KEY, LOCAL, MODELS, NOWHERE, page, rejects, run, URL_, WEATHER } from "./features.mjs";

const made = (given = {}) => new Anthropic({ baseURL: URL_, apiKey: KEY, maxRetries: 0, timeout: 20_000, ...given });
const client = made();
const body = { model: "chat", max_tokens: 60, messages: HELLO };
const ask = (given = {}, of = client) => of.messages.create({ ...body, ...given });

await run({
  async messages() {
    const answer = await ask();
    assert(answer.content[0].text);
    assert(answer.usage.output_tokens > 0);
  },
  async stream() {
    const message = await client.messages.stream(body).finalMessage();
    assert(message.content[0].text);
    assert(message.usage.output_tokens > 0);
  },
  async tools() {
    const tool = { name: WEATHER.name, description: WEATHER.description, input_schema: WEATHER.parameters };
    const [block] = (await ask({ tools: [tool], tool_choice: { type: "any" } })).content;
    assert.deepEqual([block.name, block.input], ["weather", ARGUMENTS]);
  },
  async tokens() {
    assert((await client.messages.countTokens({ model: "chat", messages: HELLO })).input_tokens > 0);
  },
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.deepEqual(names.sort(), MODELS);
  },
  401: () => rejects(() => ask({}, made({ apiKey: "wrong" })), "AuthenticationError", 401, "authentication_error"),
  429: () => rejects(() => ask({ model: "full" }), "RateLimitError", 429, "fleet_saturated"),
  503: () => rejects(() => ask({ model: "down" }), "ServiceUnavailableError", 503, "no_capacity"),
  retry: () => fullHouse(() => ask({ model: "busy", max_tokens: 2 }, made({ maxRetries: 2 }))),
  async header() {
    await ask({}, made({ defaultHeaders: LOCAL }));
    await rejects(() => ask({}, made({ defaultHeaders: NOWHERE })), "BadRequestError", 400, "residency_unknown");
  },
  page: page("Anthropic for Node"),
});
