// Makes the calls in the file that the command line names with the SDKs, the AI SDK and LangChain, and prints
// as JSON what each came to. Each client reads a response and a stream as its users do: with its helpers, which
// fail if events do not fit together.
const { readFileSync } = require('node:fs');
const { OpenAI } = require('openai');
const Anthropic = require('@anthropic-ai/sdk');
const { GoogleGenAI } = require('@google/genai');
const { generateText, streamText, tool, jsonSchema, APICallError, RetryError } = require('ai');
const { createOpenAI } = require('@ai-sdk/openai');
const { createAnthropic } = require('@ai-sdk/anthropic');
const { createGoogleGenerativeAI } = require('@ai-sdk/google');
const { ChatOpenAI } = require('@langchain/openai');
const { ChatAnthropic } = require('@langchain/anthropic');
const { ChatGoogleGenerativeAI } = require('@langchain/google-genai');
const { gateway, outcome } = require('./calls.cjs');

globalThis.AI_SDK_LOG_WARNINGS = false;

// Of the latest response: X-Ai-Cache, the text that the client has read so far, and the call that it belongs to.
let cache;
let read;
let current;
const fetchCounted = globalThis.fetch;
globalThis.fetch = async (...request) => {
  const response = await fetchCounted(...request);
  cache = response.headers.get('x-ai-cache') ?? '';
  return current.after && response.ok ? watched(response, current) : response;
};

// watched returns a response, after a part of which the provider may go on.
function watched(response, { after, resume }) {
  let text = '';
  const decoder = new TextDecoder();
  const body = response.body.pipeThrough(new TransformStream({
    async transform(chunk, controller) {
      controller.enqueue(chunk);
      text += decoder.decode(chunk, { stream: true });
      if (text.includes(after)) {
        text = '';
        await fetchCounted(resume);
      }
    },
  }));
  return new Response(body, { status: response.status, headers: response.headers });
}

const schema = { type: 'object', properties: { card: { type: 'string' }, note: { type: 'string' } } };
const description = 'Pay a bill.';

// whole returns what a response consists of, and the response itself. A stream must have had the same text.
function whole(text, thought, args, object, streamed) {
  if (streamed !== undefined && streamed !== text) {
    throw new TypeError(`the events have ${JSON.stringify(streamed)}, the whole has ${JSON.stringify(text)}`);
  }
  return { text, thought, arguments: args, object };
}

const argumentsOf = (text) => JSON.stringify(JSON.parse(text));

const clients = {
  'openai chat': async ({ base, key, system, prompt, stream }) => {
    const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key });
    const params = {
      model: 'gpt-4o-mini', messages: [...(system ? [{ role: 'system', content: system }] : []), { role: 'user', content: prompt }],
      tools: [{ type: 'function', function: { name: 'pay', description, parameters: schema } }],
    };
    if (!stream) {
      const completion = await client.chat.completions.create(params);
      const { message } = completion.choices[0];
      return whole(message.content, message.reasoning_content, argumentsOf(message.tool_calls[0].function.arguments), completion);
    }
    const chunks = client.chat.completions.stream(params);
    let thought = '';
    for await (const chunk of chunks) {
      read += chunk.choices[0]?.delta.content ?? '';
      thought += chunk.choices[0]?.delta.reasoning_content ?? '';
    }
    const completion = await chunks.finalChatCompletion();
    const { message } = completion.choices[0];
    return whole(message.content, thought, argumentsOf(message.tool_calls[0].function.arguments), completion, read);
  },

  'openai responses': async ({ base, key, system, prompt, stream }) => {
    const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key });
    const params = {
      model: 'gpt-5-mini', input: prompt, ...(system ? { instructions: system } : {}),
      tools: [{ type: 'function', name: 'pay', description, parameters: schema, strict: false }],
    };
    const parts = (response) => {
      const of = (type) => response.output.find((item) => item.type === type);
      return [response.output_text, of('reasoning').summary[0].text, argumentsOf(of('function_call').arguments), response];
    };
    if (!stream) {
      return whole(...parts(await client.responses.create(params)));
    }
    const events = client.responses.stream(params);
    for await (const event of events) {
      read += event.type === 'response.output_text.delta' ? event.delta : '';
    }
    return whole(...parts(await events.finalResponse()), read);
  },

  'anthropic messages': async ({ base, key, system, prompt, stream }) => {
    const client = new Anthropic({ baseURL: base, apiKey: key });
    const params = {
      model: 'claude-sonnet-5-5', max_tokens: 2048, ...(system ? { system } : {}), messages: [{ role: 'user', content: prompt }],
      tools: [{ name: 'pay', description, input_schema: schema }],
    };
    const parts = (message) => {
      const of = (type) => message.content.find((block) => block.type === type);
      return [of('text').text, of('thinking').thinking, JSON.stringify(of('tool_use').input), message];
    };
    if (!stream) {
      return whole(...parts(await client.messages.create(params)));
    }
    const events = client.messages.stream(params);
    events.on('text', (delta) => { read += delta; });
    return whole(...parts(await events.finalMessage()), read);
  },

  'google gemini': async ({ base, key, system, prompt, stream }) => {
    const client = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: base } });
    const params = {
      model: 'gemini-2.5-flash', contents: prompt,
      config: { ...(system ? { systemInstruction: system } : {}), tools: [{ functionDeclarations: [{ name: 'pay', description, parametersJsonSchema: schema }] }] },
    };
    const responses = [];
    let thought = '';
    const add = (response) => {
      responses.push(response);
      for (const part of response.candidates[0].content.parts) {
        thought += part.thought ? part.text : '';
        read += !part.thought && part.text ? part.text : '';
      }
    };
    if (stream) {
      for await (const response of await client.models.generateContentStream(params)) {
        add(response);
      }
    } else {
      add(await client.models.generateContent(params));
    }
    const calls = responses.flatMap((response) => response.functionCalls ?? []);
    // The header of the response is not the provider's.
    return whole(read, thought, JSON.stringify(calls[0].args), responses.map(({ sdkHttpResponse, ...response }) => response));
  },
};

// Clients of the AI SDK.
const aiModels = {
  'ai chat': (base, apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey }).chat('gpt-4o-mini'),
  'ai responses': (base, apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey })('gpt-5-mini'),
  'ai messages': (base, apiKey) => createAnthropic({ baseURL: `${base}/v1`, apiKey })('claude-sonnet-5-5'),
  'ai gemini': (base, apiKey) => createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey })('gemini-2.5-flash'),
};
for (const [name, model] of Object.entries(aiModels)) {
  clients[name] = async ({ base, key, system, prompt, stream }) => {
    const params = { model: model(base, key), prompt, ...(system ? { system } : {}), tools: { pay: tool({ description, inputSchema: jsonSchema(schema) }) } };
    // Calls of Gemini's have no identifier: that which the AI SDK gives them is left out.
    const named = (key, value) => (key === 'toolCallId' ? undefined : value);
    const result = async (from) => [
      await from.text, (await from.reasoningText) ?? '', JSON.stringify((await from.toolCalls)[0].input),
      JSON.parse(JSON.stringify((await from.response).messages, named)),
    ];
    if (!stream) {
      return whole(...await result(await generateText(params)));
    }
    let failure;
    const from = streamText({ ...params, onError: ({ error }) => { failure = error; } });
    for await (const part of from.fullStream) {
      read += part.type === 'text-delta' ? part.text : '';
    }
    if (failure) {
      throw failure;
    }
    return whole(...await result(from), read);
  };
}

// uuid matches an identifier that LangChain gives to what has none, as calls of Gemini's.
const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

// Clients of LangChain.
const chats = {
  'langchain chat': (base, apiKey) => new ChatOpenAI({ model: 'gpt-4o-mini', apiKey, configuration: { baseURL: `${base}/v1` } }),
  'langchain responses': (base, apiKey) => new ChatOpenAI({ model: 'gpt-5-mini', useResponsesApi: true, apiKey, configuration: { baseURL: `${base}/v1` } }),
  'langchain messages': (base, apiKey) => new ChatAnthropic({ model: 'claude-sonnet-5-5', apiKey, anthropicApiUrl: base }),
  'langchain gemini': (base, apiKey) => new ChatGoogleGenerativeAI({ model: 'gemini-2.5-flash', apiKey, baseUrl: base }),
};
for (const [name, chat] of Object.entries(chats)) {
  clients[name] = async ({ base, key, system, prompt, stream }) => {
    const model = chat(base, key).bindTools([{ type: 'function', function: { name: 'pay', description, parameters: schema } }]);
    const messages = [...(system ? [['system', system]] : []), ['human', prompt]];
    const parts = (message) => {
      const blocks = Array.isArray(message.content) ? message.content : [];
      const thoughts = blocks.filter((block) => ['thinking', 'reasoning'].includes(block.type)).map((block) => block.thinking ?? block.reasoning);
      const summary = message.additional_kwargs.reasoning?.summary?.map((part) => part.text) ?? [];
      return [message.text, (thoughts.length ? thoughts : summary).join(''), JSON.stringify(message.tool_calls[0]?.args), JSON.parse(JSON.stringify(message).replaceAll(uuid, ''))];
    };
    if (!stream) {
      return whole(...parts(await model.invoke(messages)));
    }
    let message;
    for await (const chunk of await model.stream(messages)) {
      read += chunk.text;
      message = message ? message.concat(chunk) : chunk;
    }
    return whole(...parts(message), read);
  };
}

// describe says which error a client raises, whether its message says what to do, and what was read before.
function describe(error) {
  const last = RetryError.isInstance(error) ? error.lastError : error;
  const status = last.status ?? last.statusCode;
  return {
    error: APICallError.isInstance(last) ? last.name : last.constructor.name, status, text: read,
    message: String(last.message),
  };
}

async function main() {
  const outcomes = {};
  for (const call of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
    cache = '';
    read = '';
    current = call;
    if (clients[call.client]) {
      outcomes[call.name] = { ...await outcome(() => clients[call.client]({ ...call, base: gateway + call.route }), describe), cache };
    }
  }
  process.stdout.write(JSON.stringify(outcomes), () => process.exit());
}

main();
