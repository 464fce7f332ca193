// Streams from a gateway that masks or blocks what the provider responds, with the SDKs of OpenAI, Anthropic
// and Google for JavaScript, and prints as JSON what each call came to.
const { OpenAI } = require('openai');
const Anthropic = require('@anthropic-ai/sdk');
const { GoogleGenAI, ApiError } = require('@google/genai');

const gateway = process.env.GATEWAY_URL;
const content = 'Hi';

// texts are what a stream of each client consists of.
const texts = {
  async chat(route) {
    const client = new OpenAI({ baseURL: gateway + route + '/v1', apiKey: 'k', maxRetries: 0 });
    const stream = client.chat.completions.stream({ model: 'm', messages: [{ role: 'user', content }] });
    const completion = await stream.finalChatCompletion();
    return completion.choices[0].message.content;
  },
  async responses(route) {
    const client = new OpenAI({ baseURL: gateway + route + '/v1', apiKey: 'k', maxRetries: 0 });
    let text = '';
    for await (const event of await client.responses.create({ model: 'm', input: content, stream: true })) {
      text += event.type === 'response.output_text.delta' ? event.delta : '';
    }
    return text;
  },
  async messages(route) {
    const client = new Anthropic({ baseURL: gateway + route, apiKey: 'k', maxRetries: 0 });
    const message = await client.messages.stream({ model: 'm', max_tokens: 64, messages: [{ role: 'user', content }] }).finalMessage();
    return message.content[0].text;
  },
  async gemini(route) {
    const client = new GoogleGenAI({ apiKey: 'k', httpOptions: { baseUrl: gateway + route } });
    let text = '';
    for await (const part of await client.models.generateContentStream({ model: 'm', contents: content })) {
      text += part.text;
    }
    return text;
  },
};

async function main() {
  const outcomes = {};
  for (const name of Object.keys(texts)) {
    for (const route of ['/mask', '/block']) {
      try {
        outcomes[name + route] = { text: await texts[name](route) };
      } catch (error) {
        // Before anything has been sent, the status decides which subclass it is.
        const isAPIError = error instanceof OpenAI.APIError || error instanceof Anthropic.APIError || error instanceof ApiError;
        outcomes[name + route] = { error: isAPIError, message: /content rule `keys`/.test(error.message) };
      }
    }
  }
  console.log(JSON.stringify(outcomes));
}

main();
