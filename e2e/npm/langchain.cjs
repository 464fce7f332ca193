// Calls the gateway with LangChain's packages for the three protocols.
const { ChatOpenAI, OpenAIEmbeddings } = require('@langchain/openai');
const { ChatAnthropic } = require('@langchain/anthropic');
const { ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings } = require('@langchain/google-genai');
const { HumanMessage } = require('@langchain/core/messages');
const { gateway, key, run, city, picture } = require('./calls.cjs');

// chats returns the chat model behind a route, as each of the three packages has it.
function chats(route = '', apiKey = key) {
  return {
    openai: (more) => new ChatOpenAI({ model: 'gpt-4o-mini', apiKey, configuration: { baseURL: `${gateway}${route}/v1` }, ...more }),
    responses: (more) => new ChatOpenAI({ model: 'gpt-4o-mini', useResponsesApi: true, apiKey, configuration: { baseURL: `${gateway}${route}/v1` }, ...more }),
    anthropic: (more) => new ChatAnthropic({ model: 'claude-sonnet-5-5', apiKey, anthropicApiUrl: gateway + route, ...more }),
    google: (more) => new ChatGoogleGenerativeAI({ model: 'gemini-2.5-flash', apiKey, baseUrl: gateway + route, ...more }),
  };
}

// thinking makes the model of each package think aloud.
const thinking = {
  responses: { reasoning: { effort: 'high', summary: 'auto' } },
  anthropic: { thinking: { type: 'adaptive' }, maxTokens: 2048 },
  google: { thinkingConfig: { includeThoughts: true } },
};

const weather = { type: 'function', function: { name: 'get_weather', description: 'The weather in a city.', parameters: city } };
const choices = { openai: 'required', responses: 'required', anthropic: 'any', google: 'any' };

function summary(message) {
  const usage = message.usage_metadata;
  const outcome = { content: message.text, input: usage?.input_tokens, output: usage?.output_tokens, total: usage?.total_tokens };
  if (message.tool_calls?.length > 0) {
    outcome.tool = message.tool_calls[0].name;
    outcome.arguments = JSON.stringify(message.tool_calls[0].args);
  }
  return outcome;
}

async function invoke(chat, prompt = 'Hello, gateway!') {
  return summary(await chat.invoke(prompt));
}

async function stream(chat) {
  let whole;
  let chunks = 0;
  for await (const chunk of await chat.stream('Hello, stream!')) {
    whole = whole ? whole.concat(chunk) : chunk;
    chunks++;
  }
  return { ...summary(whole), several: chunks > 1 };
}

const question = [new HumanMessage({ content: [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${picture}` } }] })];

const kinds = ['openai', 'responses', 'anthropic', 'google'];
const served = {};
for (const kind of kinds) {
  const chat = (more) => chats()[kind](more);
  Object.assign(served, {
    [`${kind}: answer`]: () => invoke(chat()),
    [`${kind}: stream`]: () => stream(chat()),
    [`${kind}: tool`]: () => invoke(chat().bindTools([weather], { tool_choice: choices[kind] })),
    [`${kind}: streamed tool`]: () => stream(chat().bindTools([weather], { tool_choice: choices[kind] })),
    [`${kind}: image`]: () => invoke(chat(), question),
    [`${kind}: structured`]: async () => ({ content: JSON.stringify(await chat().withStructuredOutput(city, { name: 'city' }).invoke('A city?')) }),
  });
  if (thinking[kind]) {
    served[`${kind}: thinking`] = () => invoke(chat(thinking[kind]));
  }
}
served['openai: embedding'] = async () => {
  const vectors = new OpenAIEmbeddings({ model: 'text-embedding-3-small', apiKey: key, configuration: { baseURL: `${gateway}/v1` } });
  return { content: String((await vectors.embedQuery('Hello!')).length) };
};
served['google: embedding'] = async () => {
  const vectors = new GoogleGenerativeAIEmbeddings({ model: 'gemini-embedding-001', apiKey: key, baseUrl: gateway });
  return { content: String((await vectors.embedDocuments(['Hello!', 'Goodbye!'])).map((one) => one.length)) };
};

// Names that routes with allowed models refuse.
const others = { openai: 'gpt-4o', responses: 'gpt-4o', anthropic: 'claude-opus-5-5', google: 'gemini-2.5-pro' };

const refused = {};
for (const kind of kinds) {
  Object.assign(refused, {
    [`${kind}: unknown key`]: () => invoke(chats('/consumers-unknown', 'sk-consumer-nobody')[kind]()),
    [`${kind}: refused model`]: () => invoke(chats('/consumers-models')[kind]({ model: others[kind] })),
    [`${kind}: refused model, streamed`]: () => stream(chats('/consumers-models')[kind]({ model: others[kind] })),
    [`${kind}: unknown group`]: () => invoke(chats('/consumers-group')[kind]()),
    [`${kind}: quota not spent`]: () => invoke(chats(`/quota-spent-langchain-${kind}`)[kind]()),
    [`${kind}: quota spent`]: () => invoke(chats(`/quota-spent-langchain-${kind}`)[kind]()),
  });
}

const broken = {};
for (const kind of kinds) {
  broken[`${kind}: error of the provider`] = () => invoke(chats()[kind]({ model: 'model-that-the-provider-lacks' }));
}

function describe(error) {
  if (error.status === undefined) {
    return undefined;
  }
  return { error: error.constructor.name, status: error.status };
}

run({ served, refused, broken }, describe);
