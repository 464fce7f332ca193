// Calls the gateway with Anthropic's SDK for JavaScript.
const Anthropic = require('@anthropic-ai/sdk');
const { gateway, key, outcome, retried, run, city, picture } = require('./calls.cjs');

const model = 'claude-sonnet-5-5';
const weather = { name: 'get_weather', description: 'The weather in a city.', input_schema: city };

// client returns an SDK client that may try again as often as it does by default.
function client(route = '', apiKey = key) {
  return new Anthropic({ baseURL: gateway + route, apiKey });
}

function question(content, more) {
  return { model, max_tokens: 2048, messages: [{ role: 'user', content }], ...more };
}

// summary says what is in a message.
function summary(message) {
  const result = {
    content: '', model: message.model, finish: message.stop_reason, input: message.usage.input_tokens, output: message.usage.output_tokens,
    cacheRead: message.usage.cache_read_input_tokens, cacheWrite: message.usage.cache_creation_input_tokens,
  };
  for (const block of message.content) {
    switch (block.type) {
      case 'text': result.content += block.text; break;
      case 'thinking': result.thought = block.thinking; result.signed = block.signature !== ''; break;
      case 'tool_use': result.tool = block.name; result.arguments = JSON.stringify(block.input); break;
    }
  }
  return result;
}

async function create(params) {
  return summary(await client().messages.create(params));
}

// stream accumulates a stream with the SDK's helper, which fails if events do not fit together.
async function stream(params, route) {
  const events = client(route).messages.stream(params);
  let deltas = 0;
  events.on('streamEvent', (event) => { deltas += event.type === 'content_block_delta' ? 1 : 0; });
  const message = await events.finalMessage();
  return { ...summary(message), several: deltas > 1 };
}

async function raw(params) {
  const types = new Set();
  for await (const event of await client().messages.create({ ...params, stream: true })) {
    types.add(event.type);
  }
  return { content: [...types].join(' ') };
}

const prefix = 'You are a gateway between clients and providers. '.repeat(8);
const cached = (ttl) => question('Hello, cache!', { system: [{ type: 'text', text: `${prefix}Keep it for ${ttl}.`, cache_control: { type: 'ephemeral', ttl } }] });

const served = {
  'answer': () => create(question('Hello, gateway!')),
  'stream': () => stream(question('Hello, stream!')),
  'events': () => raw(question('Hello, events!')),
  'system': () => create(question('Hello, system!', { system: 'Be brief.', stop_sequences: ['STOP'], metadata: { user_id: 'one' } })),
  'tool': () => create(question('Weather?', { tools: [weather], tool_choice: { type: 'any' } })),
  'streamed tool': () => stream(question('Weather?', { tools: [weather], tool_choice: { type: 'tool', name: weather.name } })),
  'result of a tool': () => create({
    model, max_tokens: 2048, tools: [weather], messages: [
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: weather.name, input: { city: 'Bonn', residents: 1 } }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'Sunny.' }] }] },
    ],
  }),
  'thinking': () => create(question('Think!', { thinking: { type: 'enabled', budget_tokens: 1024 } })),
  'streamed thinking': () => stream(question('Think!', { thinking: { type: 'adaptive' }, output_config: { effort: 'high' } })),
  'thinking omitted': () => stream(question('Think!', { thinking: { type: 'adaptive', display: 'omitted' } })),
  'structured': () => create(question('A city?', { output_config: { format: { type: 'json_schema', schema: city } } })),
  'image': () => create(question([
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data: picture } }, { type: 'text', text: 'What is this?' },
  ])),
  'cache written': () => create(cached('5m')),
  'cache read': () => create(cached('5m')),
  'cache for an hour': () => stream(cached('1h')),
  'beta': async () => summary(await client().beta.messages.create(question('Hello, beta!', {
    betas: ['context-management-2025-06-27'], context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] },
  }))),
  'count tokens': async () => ({ input: (await client().messages.countTokens({ model, messages: [{ role: 'user', content: 'Hello, count!' }] })).input_tokens }),
  'models': async () => {
    const names = [];
    for await (const one of client().models.list()) {
      names.push(one.id);
    }
    return { content: String(names.includes(model)) };
  },
};

const ask = (route, more, apiKey) => () => client(route, apiKey).messages.create(question('Hello!', more)).then(summary);

const refused = {
  'unknown key': ask('/consumers-unknown', {}, 'sk-consumer-nobody'),
  'refused model': ask('/consumers-models', { model: 'claude-opus-5-5' }),
  'refused model, streamed': () => stream(question('Hello!', { model: 'claude-opus-5-5' }), '/consumers-models'),
  'refused model, counted': () => client('/consumers-models').messages.countTokens({ model: 'claude-opus-5-5', messages: [{ role: 'user', content: 'Hello!' }] }),
  'invalid': ask('/consumers-models', { temperature: 'warm' }),
  'unknown group': ask('/consumers-group'),
  'quota not spent': ask('/quota-spent-anthropic'),
  'quota spent': ask('/quota-spent-anthropic'),
  'quota of a second': () => retried(() => outcome(ask('/quota-second-anthropic'), describe)),
};

// broken are calls that the provider refuses.
const broken = {
  'error of the provider': ask('', { model: 'claude-that-the-provider-lacks' }),
};

function describe(error) {
  if (error instanceof Anthropic.APIError && error.status !== undefined) {
    return { error: error.constructor.name, status: error.status, type: error.type ?? error.error?.error?.type, shouldRetry: error.headers.get('x-should-retry') ?? '' };
  }
  return undefined;
}

run({ served, refused, broken }, describe);
