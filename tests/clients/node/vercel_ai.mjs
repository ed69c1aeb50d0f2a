// The Vercel AI SDK: `ai` with `@ai-sdk/openai-compatible`, `@ai-sdk/openai` (responses) and `@ai-sdk/anthropic`.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateImage, generateText, jsonSchema, streamText, tool } from "ai";
import { ARGUMENTS, fullHouse, KEY, LOCAL, NOWHERE, page, rejects, run, V1, WEATHER } from "./features.mjs";

const given = { name: "gateway", baseURL: V1, apiKey: KEY, includeUsage: true };
const gateway = createOpenAICompatible(given);
const weather = tool({ description: WEATHER.description, inputSchema: jsonSchema(WEATHER.parameters) });
const ask = (model, more = {}) => generateText({ model, prompt: "hello", maxRetries: 0, ...more });

async function called(model) {
  const { toolCalls } = await ask(model, { tools: { weather }, toolChoice: "required" });
  assert.deepEqual([toolCalls[0].toolName, toolCalls[0].input], ["weather", ARGUMENTS]);
}

async function streamed(model) {
  const answer = streamText({ model, prompt: "hello", maxRetries: 0, onError: () => {} });
  assert(await answer.text);
  assert((await answer.usage).outputTokens > 0);
}

await run({
  async chat() {
    const answer = await ask(gateway("chat"));
    assert(answer.text);
    assert(answer.usage.outputTokens > 0);
  },
  stream: () => streamed(gateway("chat")),
  tools: () => called(gateway("chat")),
  async embeddings() {
    const model = gateway.embeddingModel("chat");
    assert.equal((await embedMany({ model, values: ["a", "b"], maxRetries: 0 })).embeddings.length, 2);
  },
  async images() {
    const model = gateway.imageModel("pic");
    const { image } = await generateImage({ model, prompt: "a fox", size: "512x512", maxRetries: 0 });
    assert.equal(Buffer.from(image.uint8Array).toString("latin1", 1, 4), "PNG");
  },
  async responses() {
    const openai = createOpenAI({ baseURL: V1, apiKey: KEY });
    assert((await ask(openai("chat"))).text);
    await streamed(openai("chat"));
    await called(openai("chat"));
  },
  async messages() {
    const anthropic = createAnthropic({ baseURL: V1, apiKey: KEY });
    assert((await ask(anthropic("chat"))).text);
    await streamed(anthropic("chat"));
    await called(anthropic("chat"));
  },
  401: () => rejects(() => ask(createOpenAICompatible({ ...given, apiKey: "wrong" })("chat")), "APICallError", 401, "invalid_key"),
  429: () => rejects(() => ask(gateway("full")), "APICallError", 429, "fleet_saturated"),
  503: () => rejects(() => ask(gateway("down")), "APICallError", 503, "no_capacity"),
  retry: () => fullHouse(() => ask(gateway("busy"), { maxRetries: 2, maxOutputTokens: 2 })),
  async header() {
    await ask(gateway("chat"), { headers: LOCAL });
    await rejects(() => ask(gateway("chat"), { headers: NOWHERE }), "APICallError", 400, "residency_unknown");
  },
  page: page("Vercel AI SDK"),
});
