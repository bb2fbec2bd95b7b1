// The official TypeScript SDK against the mock, as anybody would use it.
//
// Arguments: base URL and key. The answers are those of `sdks.rs`. The last line is JSON: for each request id of a whole
// answer its input and output tokens.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [baseURL, apiKey, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
const { default: Anthropic } = require("@anthropic-ai/sdk");
const { zodOutputFormat } = require("@anthropic-ai/sdk/helpers/zod");
const { betaTool } = require("@anthropic-ai/sdk/helpers/beta/json-schema");
const { z } = require("zod");

const model = "claude-sonnet-4-6";
const weatherSchema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 7 } },
  required: ["city", "days"],
};
const tool = { name: "weather", description: "The weather of a city", input_schema: weatherSchema };

const client = new Anthropic({ baseURL, apiKey });
const once = new Anthropic({ baseURL, apiKey, maxRetries: 0 });
const seen = {};

const ask = (text, more = {}) => ({ model, max_tokens: 1000, messages: [{ role: "user", content: text }], ...more });

const note = (message, requestId = message._request_id) => {
  assert.ok(requestId);
  seen[requestId] = [message.usage.input_tokens, message.usage.output_tokens];
  return message;
};

const streamed = async (request) => {
  const stream = client.messages.stream(request);
  const message = await stream.finalMessage();
  return note(message, stream.request_id);
};

const fails = async (error, call) => {
  try {
    await call();
  } catch (found) {
    assert.equal(found.constructor, error, `expected ${error.name}, found ${found.constructor.name}: ${found}`);
    return found;
  }
  assert.fail(`expected ${error.name}, found an answer`);
};

async function messages() {
  const message = note(await client.messages.create(ask("hello", { system: "short" })));
  assert.equal(message.content[0].text, "Echo: hello");
  assert.equal(message.stop_reason, "end_turn");
  assert.match(message._request_id, /^req_011/);
  const stopped = note(await client.messages.create(ask("one two", { stop_sequences: ["two"] })));
  assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", "two"]);
  const cut = note(await client.messages.create(ask("a long answer", { max_tokens: 2 })));
  assert.deepEqual([cut.stop_reason, cut.usage.output_tokens], ["max_tokens", 2]);
}

async function streaming() {
  const stream = client.messages.stream(ask("stream this", { thinking: { type: "adaptive" } }));
  let text = "";
  let thinking = "";
  stream.on("text", (delta) => (text += delta));
  stream.on("thinking", (delta) => (thinking += delta));
  const message = note(await stream.finalMessage(), stream.request_id);
  assert.equal(text, "Echo: stream this");
  assert.equal(thinking, "I have to repeat: stream this");
  assert.deepEqual(message.content.map((block) => block.type), ["thinking", "text"]);
  assert.ok(message.content[0].signature);
  const names = [];
  for await (const event of await client.messages.create(ask("raw", { stream: true }))) names.push(event.type);
  assert.deepEqual([names[0], names.at(-1)], ["message_start", "message_stop"]);
}

async function tools() {
  const forced = ask("forced", { tools: [tool], tool_choice: { type: "tool", name: "weather" } });
  let use, message;
  for (const call of [async () => note(await client.messages.create(forced)), () => streamed(forced)]) {
    message = await call();
    use = message.content.at(-1);
    assert.deepEqual([use.type, use.name, message.stop_reason], ["tool_use", "weather", "tool_use"]);
    assert.equal(typeof use.input.city, "string");
    assert.ok(use.input.days >= 1 && use.input.days <= 7);
  }
  const result = { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "sunny" }] };
  const turns = [...forced.messages, { role: "assistant", content: message.content }, result];
  const answer = note(await client.messages.create(ask("", { messages: turns, tools: [tool] })));
  assert.equal(answer.content[0].text, "Echo: sunny");

  const asked = [];
  const weather = betaTool({
    name: "weather",
    description: "The weather of a city",
    inputSchema: weatherSchema,
    run: ({ city, days }) => {
      asked.push([city, days]);
      return `${days} days of sun in ${city}`;
    },
  });
  const last = await client.beta.messages.toolRunner({ ...ask("weather in Rome?"), tools: [weather] });
  assert.equal(last.content[0].text, "Echo: 3 days of sun in Rome");
  assert.deepEqual(asked, [["Rome", 3]]);
}

async function structured() {
  const Trip = z.object({ city: z.string(), days: z.int() });
  const request = ask("a trip", { output_config: { format: zodOutputFormat(Trip) } });
  Trip.parse((await client.messages.parse(request)).parsed_output);
  Trip.parse((await streamed(request)).parsed_output);
}

async function countingAndModels() {
  const { usage } = note(await client.messages.create(ask("how many?")));
  const counted = await client.messages.countTokens({ model, messages: ask("how many?").messages });
  assert.equal(counted.input_tokens, usage.input_tokens);
  const ids = [];
  for await (const one of client.models.list({ limit: 3 })) ids.push(one.id);
  assert.ok(ids.length > 3 && new Set(ids).size === ids.length);
  const one = await client.models.retrieve("claude-opus-5-5");
  assert.equal(one.max_tokens, 128000);
  await fails(Anthropic.NotFoundError, () => client.models.retrieve("claude-none"));
}

async function errors() {
  // In the order of `ApiError::documented`.
  const documented = [
    [Anthropic.BadRequestError, "invalid_request_error"],
    [Anthropic.BadRequestError, "invalid_request_error"],
    [Anthropic.AuthenticationError, "authentication_error"],
    [Anthropic.PaymentRequiredError, "billing_error"],
    [Anthropic.PermissionDeniedError, "permission_error"],
    [Anthropic.NotFoundError, "not_found_error"],
    [Anthropic.ConflictError, "conflict_error"],
    [Anthropic.ContentTooLargeError, "request_too_large"],
    [Anthropic.RateLimitError, "rate_limit_error"],
    [null, "rate_limit_error", "enforced_spend_limit_reached"],
    [Anthropic.InternalServerError, "api_error"],
    [Anthropic.ServiceUnavailableError, "api_error"],
    [Anthropic.GatewayTimeoutError, "timeout_error"],
    [Anthropic.OverloadedError, "overloaded_error"],
  ];
  for (const [number, [error, type, code]] of documented.entries()) {
    const found = await once.messages.create(ask(`error ${number}.`)).then(() => assert.fail(), (found) => found);
    if (error) assert.equal(found.constructor, error, `${found}`);
    assert.deepEqual([found.type, found.errorCode], [type, code ?? null]);
    assert.equal(found.requestID, found.error.request_id);
  }
  await fails(Anthropic.BadRequestError, () => client.messages.create(ask("x", { messages: [] })));
  await fails(Anthropic.NotFoundError, () => client.messages.create(ask("x", { model: "claude-none" })));
  const wrong = new Anthropic({ baseURL, apiKey: "wrong" });
  await fails(Anthropic.AuthenticationError, () => wrong.messages.create(ask("x")));
  const page = await fails(Anthropic.InternalServerError, () => once.messages.create(ask("html")));
  assert.equal(page.status, 502);
  const event = await client.messages.stream(ask("error event")).finalMessage().then(() => assert.fail(), (found) => found);
  assert.equal(event.type, "overloaded_error");
  await assert.rejects(client.messages.stream(ask("cut")).finalMessage());
}

async function retries() {
  for (const text of ["retry rate limit", "retry overloaded", "retry reset", "retry because told to"]) {
    assert.equal(note(await client.messages.create(ask(text))).content[0].text, `Echo: ${text}`);
  }
  await fails(Anthropic.OverloadedError, () => client.messages.create(ask("do not retry")));
  await fails(Anthropic.APIConnectionTimeoutError, () => once.messages.create(ask("timeout"), { timeout: 200 }));
}

async function unknown() {
  const plain = note(await client.messages.create(ask("unknown")));
  assert.deepEqual([plain.content[0].type, plain.stop_reason], ["hologram", "tea_break"]);
  const stream = await streamed(ask("unknown"));
  assert.deepEqual([stream.content[1].text, stream.stop_reason], ["known", "tea_break"]);
  const late = await streamed(ask("late usage"));
  assert.deepEqual([late.usage.cache_read_input_tokens, late.usage.cache_creation_input_tokens], [300, 54000]);
}

for (const part of [messages, streaming, tools, structured, countingAndModels, errors, retries, unknown]) await part();
console.log(JSON.stringify(seen));
