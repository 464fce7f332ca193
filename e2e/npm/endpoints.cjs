// Calls the gateway's endpoints other than chat completions with OpenAI's SDK for JavaScript.
const { OpenAI, APIError, toFile } = require('openai');
const WebSocket = require('ws');
const { gateway, key, run, city, picture } = require('./calls.cjs');

const model = 'gpt-4o-mini';
const weather = { type: 'function', name: 'get_weather', description: 'The weather in a city.', parameters: city, strict: true };
const image = `data:image/png;base64,${picture}`;

// client returns an SDK client that may try again as often as it does by default.
function client(route = '', apiKey = key) {
  return new OpenAI({ baseURL: gateway + route + '/v1', apiKey });
}

function question(input, more) {
  return { model, input, ...more };
}

// summary says what is in a response.
function summary(response) {
  const usage = response.usage;
  const result = {
    content: response.output_text, model: response.model, finish: response.status, input: usage.input_tokens, output: usage.output_tokens,
    reasoning: usage.output_tokens_details.reasoning_tokens, total: usage.total_tokens,
  };
  for (const item of response.output) {
    if (item.type === 'reasoning') {
      result.thought = item.summary.map((part) => part.text).join('');
    } else if (item.type === 'function_call') {
      result.tool = item.name;
      result.arguments = item.arguments;
    }
  }
  return result;
}

async function create(params, route, apiKey) {
  return summary(await client(route, apiKey).responses.create(params));
}

// stream accumulates a stream with the SDK's helper, which fails if events do not fit together.
async function stream(params, route) {
  const events = client(route).responses.stream(params);
  let deltas = 0;
  for await (const event of events) {
    deltas += event.type.endsWith('.delta') ? 1 : 0;
  }
  return { ...summary(await events.finalResponse()), several: deltas > 1 };
}

async function transcribe(name, more) {
  const file = await toFile(Buffer.alloc(20_000), 'speech.wav', { type: 'audio/wav' });
  const { text, usage } = await client().audio.transcriptions.create({ file, model: name, ...more });
  return { content: text, input: usage.input_tokens, output: usage.output_tokens, total: usage.total_tokens, seconds: usage.seconds };
}

async function streamTranscription() {
  const file = await toFile(Buffer.alloc(20_000), 'speech.wav', { type: 'audio/wav' });
  let last;
  let deltas = 0;
  for await (const event of await client().audio.transcriptions.create({ file, model: 'gpt-4o-transcribe', stream: true })) {
    deltas += event.type === 'transcript.text.delta' ? 1 : 0;
    last = event;
  }
  return { content: last.text, total: last.usage.total_tokens, finish: last.type, several: deltas > 1 };
}

// talk has one response in a realtime conversation. The SDK's own client would insist on TLS.
function talk(name = 'gpt-realtime', route = '', apiKey = key) {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${gateway.replace('http', 'ws')}${route}/v1/realtime?model=${name}`, { headers: { Authorization: `Bearer ${apiKey}` } });
    const send = (event) => socket.send(JSON.stringify(event));
    let content = '';
    let deltas = 0;
    socket.on('unexpected-response', (request, response) => {
      let text = '';
      response.on('data', (part) => { text += part; });
      response.on('end', () => {
        request.destroy();
        const { type, code } = JSON.parse(text).error;
        resolve({ error: 'unexpected-response', status: response.statusCode, type, code });
      });
    });
    socket.on('message', (text) => {
      const event = JSON.parse(text);
      switch (event.type) {
        case 'session.created':
          send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello, socket!' }] } });
          send({ type: 'response.create' });
          break;
        case 'response.output_text.delta':
          content += event.delta;
          deltas++;
          break;
        case 'response.done': {
          const { input_tokens: input, output_tokens: output, total_tokens: total } = event.response.usage;
          socket.close();
          resolve({ content, finish: event.response.status, input, output, total, several: deltas > 1 });
        }
      }
    });
  });
}

const served = {
  'response': () => create(question('Hello, gateway!')),
  'response stream': () => stream(question('Hello, stream!')),
  'instructions': () => create(question([{ role: 'user', content: 'Hello!' }], { instructions: 'Be brief.', store: false })),
  'tool': () => create(question('Weather?', { tools: [weather], tool_choice: 'required' })),
  'streamed tool': () => stream(question('Weather?', { tools: [weather], tool_choice: { type: 'function', name: weather.name } })),
  'result of a tool': () => create(question([
    { role: 'user', content: 'Weather?' },
    { type: 'function_call', call_id: 'call_1', name: weather.name, arguments: '{"city":"Bonn"}' },
    { type: 'function_call_output', call_id: 'call_1', output: 'Sunny.' },
  ], { tools: [weather] })),
  'reasoning': () => create(question('Think!', { reasoning: { effort: 'high', summary: 'auto' } })),
  'streamed reasoning': () => stream(question('Think!', { reasoning: { effort: 'low', summary: 'auto' }, include: ['reasoning.encrypted_content'] })),
  'structured': () => create(question('A city?', { text: { format: { type: 'json_schema', name: 'city', schema: city } } })),
  'image': () => create(question([{ role: 'user', content: [{ type: 'input_image', image_url: image, detail: 'auto' }, { type: 'input_text', text: 'What is this?' }] }])),
  'count tokens': async () => ({ input: (await client().responses.inputTokens.count(question('Hello, count!'))).input_tokens }),
  'image in a chat': async () => {
    const completion = await client().chat.completions.create({
      model, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: image } }, { type: 'text', text: 'What is this?' }] }],
    });
    return { content: completion.choices[0].message.content, input: completion.usage.prompt_tokens };
  },
  'legacy completion': async () => {
    const { choices, usage } = await client().completions.create({ model, prompt: 'Hello!' });
    return { content: choices[0].text, total: usage.total_tokens };
  },
  'transcription by tokens': () => transcribe('gpt-4o-transcribe', { prompt: 'A talk.' }),
  'transcription by seconds': () => transcribe('whisper-1'),
  'transcription stream': streamTranscription,
  'speech': async () => {
    const sound = await client().audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Hello!', response_format: 'wav' });
    return { content: `${(await sound.arrayBuffer()).byteLength} bytes` };
  },
  'drawing': async () => {
    const { data, usage } = await client().images.generate({ model: 'gpt-image-1', prompt: 'A gateway.', n: 2 });
    return { content: String(data.every((one) => one.b64_json === picture)), input: usage.input_tokens, output: usage.output_tokens };
  },
  'edited drawing': async () => {
    const file = await toFile(Buffer.from(picture, 'base64'), 'one.png', { type: 'image/png' });
    const { data, usage } = await client().images.edit({ model: 'gpt-image-1', image: file, prompt: 'Another gateway.' });
    return { content: String(data.length), input: usage.input_tokens, output: usage.output_tokens };
  },
  'moderation': async () => {
    const { results } = await client().moderations.create({ model: 'omni-moderation-latest', input: ['Hello!', 'Violence!'] });
    return { content: results.map((one) => one.flagged).join(' ') };
  },
  'realtime': () => talk(),
};

const refused = {
  'unknown key': () => create(question('Hello!'), '/consumers-unknown', 'sk-consumer-nobody'),
  'refused model': () => create(question('Hello!', { model: 'gpt-4o' }), '/consumers-models'),
  'refused model, streamed': () => stream(question('Hello!', { model: 'gpt-4o' }), '/consumers-models'),
  'refused model, counted': () => client('/consumers-models').responses.inputTokens.count(question('Hello!', { model: 'gpt-4o' })),
  'invalid': () => create(question('Hello!', { temperature: 3 }), '/consumers-models'),
  'unknown group': () => create(question('Hello!'), '/consumers-group'),
  'unknown key, realtime': () => talk('gpt-realtime', '/consumers-unknown', 'sk-consumer-nobody'),
  'refused model, realtime': () => talk('gpt-realtime', '/consumers-models'),
  'quota not spent': () => create(question('Hello!'), '/quota-spent-endpoints'),
  'quota spent': () => create(question('Hello!'), '/quota-spent-endpoints'),
};

const broken = {
  'error of the provider': () => create(question('Hello!', { model: 'gpt-that-the-provider-lacks' })),
};

function describe(error) {
  if (error instanceof APIError && error.status !== undefined) {
    return { error: error.constructor.name, status: error.status, type: error.type, code: error.code ?? '' };
  }
  return undefined;
}

run({ served, refused, broken }, describe);
