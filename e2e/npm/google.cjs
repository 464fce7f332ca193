// Calls the gateway with Google's Gen AI SDK for JavaScript.
const { GoogleGenAI, ApiError, FunctionCallingConfigMode } = require('@google/genai');
const { gateway, key, run, city, picture } = require('./calls.cjs');

const model = 'gemini-2.5-flash';
const weather = { name: 'get_weather', description: 'The weather in a city.', parametersJsonSchema: city };
const calling = { tools: [{ functionDeclarations: [weather] }], toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY } } };

function client(route = '', apiKey = key) {
  return new GoogleGenAI({ apiKey, httpOptions: { baseUrl: gateway + route } });
}

function question(contents, config, more) {
  return { model, contents, config, ...more };
}

// summary says what is in the responses of a stream, or in the only response.
function summary(...responses) {
  const last = responses.at(-1);
  const usage = last.usageMetadata;
  const result = {
    content: '', model: last.modelVersion, finish: last.candidates[0].finishReason, input: usage.promptTokenCount, output: usage.candidatesTokenCount,
    reasoning: usage.thoughtsTokenCount, total: usage.totalTokenCount, cacheRead: usage.cachedContentTokenCount,
  };
  for (const response of responses) {
    for (const part of response.candidates[0].content.parts) {
      if (part.thought) {
        result.thought = (result.thought ?? '') + part.text;
      } else if (part.functionCall) {
        result.tool = part.functionCall.name;
        result.arguments = JSON.stringify(part.functionCall.args);
      } else {
        result.content += part.text;
      }
    }
  }
  return result;
}

async function generate(params, route, apiKey) {
  return summary(await client(route, apiKey).models.generateContent(params));
}

async function stream(params, route) {
  const responses = [];
  for await (const response of await client(route).models.generateContentStream(params)) {
    responses.push(response);
  }
  return { ...summary(...responses), several: responses.length > 1 };
}

async function chat() {
  const talk = client().chats.create({ model, config: { systemInstruction: 'Be brief.', temperature: 0.2, maxOutputTokens: 500 } });
  await talk.sendMessage({ message: 'Hello!' });
  return summary(await talk.sendMessage({ message: 'Hello again!' }));
}

async function embed(contents, config) {
  const response = await client().models.embedContent({ model: 'gemini-embedding-001', contents, config });
  return { content: response.embeddings.map((one) => one.values.length).join(' ') };
}

const served = {
  'answer': () => generate(question('Hello, gateway!')),
  'stream': () => stream(question('Hello, stream!')),
  'chat': chat,
  'tool': () => generate(question('Weather?', calling)),
  'streamed tool': () => stream(question('Weather?', calling)),
  'result of a tool': () => generate(question([
    { role: 'user', parts: [{ text: 'Weather?' }] },
    { role: 'model', parts: [{ functionCall: { name: weather.name, args: { city: 'Bonn' } } }] },
    { role: 'user', parts: [{ functionResponse: { name: weather.name, response: { output: 'Sunny.' } } }] },
  ], { tools: [{ functionDeclarations: [weather] }] })),
  'thinking': () => generate(question('Think!', { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } })),
  'streamed thinking': () => stream(question('Think!', { thinkingConfig: { includeThoughts: true } })),
  'thinking hidden': () => stream(question('Think!', { thinkingConfig: {} })),
  'structured': () => generate(question('A city?', { responseMimeType: 'application/json', responseJsonSchema: city })),
  'image': () => generate(question([{ inlineData: { mimeType: 'image/png', data: picture } }, 'What is this?'])),
  'cache read': () => stream(question('Hello, cache!', { cachedContent: 'cachedContents/one' })),
  'count tokens': async () => ({ input: (await client().models.countTokens(question('Hello, count!'))).totalTokens }),
  'embedding': () => embed('Hello!'),
  'embeddings': () => embed(['Hello!', 'Goodbye!'], { outputDimensionality: 4 }),
  'models': async () => {
    const names = [];
    for await (const one of await client().models.list()) {
      names.push(one.name);
    }
    return { content: String(names.includes(`models/${model}`)) };
  },
};

const refused = {
  'unknown key': () => generate(question('Hello!'), '/consumers-unknown', 'sk-consumer-nobody'),
  'refused model': () => generate(question('Hello!', {}, { model: 'gemini-2.5-pro' }), '/consumers-models'),
  'refused model, streamed': () => stream(question('Hello!', {}, { model: 'gemini-2.5-pro' }), '/consumers-models'),
  'refused model, counted': () => client('/consumers-models').models.countTokens({ model: 'gemini-2.5-pro', contents: 'Hello!' }),
  'invalid': () => generate(question('Hello!', { temperature: 'warm' }), '/consumers-models'),
  'unknown group': () => generate(question('Hello!'), '/consumers-group'),
  'quota not spent': () => generate(question('Hello!'), '/quota-spent-google'),
  'quota spent': () => generate(question('Hello!'), '/quota-spent-google'),
};

const broken = {
  'error of the provider': () => generate(question('Hello!', {}, { model: 'gemini-that-the-provider-lacks' })),
};

// describe reads the type of an error from its message, which is the body of the response.
function describe(error) {
  if (!(error instanceof ApiError)) {
    return undefined;
  }
  const { code, status } = JSON.parse(error.message).error;
  return { error: error.constructor.name, status: error.status, type: status, code: String(code) };
}

run({ served, refused, broken }, describe);
