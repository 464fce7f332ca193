// Calls the gateway with the AI SDK, which has a client of its own for each protocol.
const { generateText, streamText, generateObject, embed, tool, jsonSchema, APICallError, RetryError } = require('ai');
const { createOpenAI } = require('@ai-sdk/openai');
const { createAnthropic } = require('@ai-sdk/anthropic');
const { createGoogleGenerativeAI } = require('@ai-sdk/google');
const { gateway, key, run, city, picture } = require('./calls.cjs');

globalThis.AI_SDK_LOG_WARNINGS = false;

// models returns the models behind a route, as each of the three clients has them.
function models(route = '', apiKey = key) {
  const openai = createOpenAI({ baseURL: `${gateway}${route}/v1`, apiKey });
  const anthropic = createAnthropic({ baseURL: `${gateway}${route}/v1`, apiKey });
  const google = createGoogleGenerativeAI({ baseURL: `${gateway}${route}/v1beta`, apiKey });
  return {
    'responses': (name = 'gpt-5-mini') => openai(name),
    'chat': (name = 'gpt-4o-mini') => openai.chat(name),
    'messages': (name = 'claude-haiku-4-5') => anthropic(name),
    'gemini': (name = 'gemini-2.5-flash') => google(name),
    openai, google,
  };
}

// thinking makes the model of each client think aloud.
const thinking = {
  openai: { reasoningEffort: 'high', reasoningSummary: 'auto' },
  anthropic: { thinking: { type: 'adaptive' } },
  google: { thinkingConfig: { includeThoughts: true } },
};

const tools = { get_weather: tool({ description: 'The weather in a city.', inputSchema: jsonSchema(city) }) };

async function summary(result) {
  const usage = await result.usage;
  const calls = await result.toolCalls;
  const outcome = {
    content: await result.text, finish: await result.finishReason, input: usage.inputTokens, output: usage.outputTokens, reasoning: usage.reasoningTokens,
    thought: (await result.reasoningText) || undefined,
  };
  if (calls.length > 0) {
    outcome.tool = calls[0].toolName;
    outcome.arguments = JSON.stringify(calls[0].input);
  }
  return outcome;
}

async function generate(model, more) {
  return summary(await generateText({ model, prompt: 'Hello, gateway!', ...more }));
}

async function stream(model, more) {
  let failure;
  const result = streamText({ model, prompt: 'Hello, stream!', onError: ({ error }) => { failure = error; }, ...more });
  let deltas = 0;
  for await (const part of result.fullStream) {
    deltas += part.type.endsWith('-delta') ? 1 : 0;
  }
  if (failure) {
    throw failure;
  }
  return { ...await summary(result), several: deltas > 1 };
}

const question = [{ role: 'user', content: [{ type: 'image', image: Buffer.from(picture, 'base64'), mediaType: 'image/png' }, { type: 'text', text: 'What is this?' }] }];

const served = {};
for (const kind of ['responses', 'chat', 'messages', 'gemini']) {
  const model = () => models()[kind]();
  Object.assign(served, {
    [`${kind}: answer`]: () => generate(model(), { system: 'Be brief.' }),
    [`${kind}: stream`]: () => stream(model()),
    [`${kind}: tool`]: () => generate(model(), { tools, toolChoice: 'required' }),
    [`${kind}: streamed tool`]: () => stream(model(), { tools, toolChoice: 'required' }),
    [`${kind}: image`]: () => generate(model(), { prompt: undefined, messages: question }),
    [`${kind}: structured`]: async () => ({ content: JSON.stringify((await generateObject({ model: model(), schema: jsonSchema(city), prompt: 'A city?' })).object) }),
  });
  if (kind !== 'chat') {
    served[`${kind}: thinking`] = () => generate(model(), { providerOptions: thinking });
    served[`${kind}: streamed thinking`] = () => stream(model(), { providerOptions: thinking });
  }
}
served['openai: embedding'] = async () => ({ content: String((await embed({ model: models().openai.embedding('text-embedding-3-small'), value: 'Hello!' })).embedding.length) });
served['google: embedding'] = async () => ({ content: String((await embed({ model: models().google.embedding('gemini-embedding-001'), value: 'Hello!' })).embedding.length) });

// Names that routes with allowed models refuse.
const others = { responses: 'gpt-4o', chat: 'gpt-4o', messages: 'claude-opus-5-5', gemini: 'gemini-2.5-pro' };

const refused = {};
for (const kind of ['responses', 'chat', 'messages', 'gemini']) {
  Object.assign(refused, {
    [`${kind}: unknown key`]: () => generate(models('/consumers-unknown', 'sk-consumer-nobody')[kind]()),
    [`${kind}: refused model`]: () => generate(models('/consumers-models')[kind](others[kind])),
    [`${kind}: refused model, streamed`]: () => stream(models('/consumers-models')[kind](others[kind])),
    [`${kind}: unknown group`]: () => generate(models('/consumers-group')[kind]()),
  });
}
refused['messages: quota not spent'] = () => generate(models('/quota-spent-ai').messages());
refused['messages: quota spent'] = () => generate(models('/quota-spent-ai').messages());

const broken = {};
for (const kind of ['responses', 'chat', 'messages', 'gemini']) {
  broken[`${kind}: error of the provider`] = () => generate(models()[kind]('model-that-the-provider-lacks'));
}

// describe reads the type of an error from what the client has parsed of the response.
function describe(error) {
  const call = RetryError.isInstance(error) ? error.lastError : error;
  if (!APICallError.isInstance(call) || call.statusCode === undefined) {
    return undefined;
  }
  const { type, status, code } = call.data?.error ?? {};
  return { error: call.name, status: call.statusCode, type: type ?? status ?? 'unparsed', code: String(code ?? ''), message: call.message !== '' };
}

run({ served, refused, broken }, describe);
