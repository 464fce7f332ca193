// Calls the gateway at GATEWAY_URL with OpenAI's SDK for JavaScript, and prints as JSON what each call
// came to. The tests of the e2e module start that gateway and NODE_PATH names the SDK's folder.
const { OpenAI, APIError } = require('openai');

const model = 'gpt-4o-mini';

let requests = 0; // that the SDK has made

// client returns an SDK client that may try again as often as it does by default.
function client(route, key) {
  return new OpenAI({
    baseURL: process.env.GATEWAY_URL + route + '/v1',
    apiKey: key,
    fetch: (...call) => {
      requests++;
      return fetch(...call);
    },
  });
}

function question(content, more) {
  return { model, messages: [{ role: 'user', content }], ...more };
}

// outcome says what became of a call: of the request, what it returns or the SDK's error, and the
// number of requests.
async function outcome(call) {
  const before = requests;
  let result;
  try {
    result = await call();
  } catch (error) {
    if (!(error instanceof APIError) || error.status === undefined) {
      throw error;
    }
    result = {
      error: error.constructor.name, status: error.status, type: error.type, code: error.code, param: error.param ?? '',
      shouldRetry: error.headers.get('x-should-retry') ?? '',
    };
  }
  return { ...result, requests: requests - before };
}

function complete(route, key, more) {
  return outcome(async () => {
    const completion = await client(route, key).chat.completions.create(question('Hello, gateway!', more));
    return { content: completion.choices[0].message.content, model: completion.model, usage: completion.usage.total_tokens > 0 };
  });
}

function stream(more) {
  return outcome(async () => {
    const chunks = await client('', 'sk-key-of-the-client').chat.completions.create(question('Hello, stream!', { stream: true, ...more }));
    const result = { content: '', model: '', several: false, finish: '', usage: false };
    let contents = 0;
    for await (const chunk of chunks) {
      result.model = chunk.model;
      result.usage ||= Boolean(chunk.usage);
      for (const choice of chunk.choices) {
        if (choice.delta.content) {
          result.content += choice.delta.content;
          contents++;
        }
        result.finish = choice.finish_reason ?? result.finish;
      }
    }
    result.several = contents > 1;
    return result;
  });
}

// retried calls until a call needs more than one request: there is one a second, and two calls are
// in the same second sooner or later.
async function retried() {
  let result;
  let calls = 0;
  do {
    result = await complete('/quota-second', 'sk-consumer-blue');
    calls++;
  } while (result.requests === 1 && !result.error && calls < 100);
  return { ...result, calls };
}

async function main() {
  console.log(JSON.stringify({
    'answer': await complete('', 'sk-key-of-the-client'),
    'stream': await stream({}),
    'stream with usage': await stream({ stream_options: { include_usage: true } }),
    'unknown key': await complete('/consumers-unknown', 'sk-consumer-nobody'),
    'refused model': await complete('/consumers-models', 'sk-consumer-blue', { model: 'gpt-4o' }),
    'unknown group': await complete('/consumers-group', 'sk-consumer-blue'),
    'quota not spent': await complete('/quota-spent', 'sk-consumer-blue'),
    'quota spent': await complete('/quota-spent', 'sk-consumer-blue'),
    'quota of a second': await retried(),
  }));
}

main();
