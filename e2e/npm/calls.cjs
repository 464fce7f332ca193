// What the scripts in this folder have in common: they call a gateway with clients of npm, and print as
// JSON what each call came to. The tests of the e2e module start that gateway, whose address is
// GATEWAY_URL, and NODE_PATH names the folder of the packages.

const gateway = process.env.GATEWAY_URL;

// key is that of a consumer whom all routes know.
const key = 'sk-consumer-blue';

let requests = 0; // that clients have made
const fetchUncounted = globalThis.fetch;
globalThis.fetch = (...call) => {
  if (String(call[0].url ?? call[0]).startsWith(gateway)) { // not a probe of what fetch supports
    requests++;
  }
  return fetchUncounted(...call);
};

// outcome says what became of a call: what it returns, or the client's error as describe returns it,
// and the number of requests.
async function outcome(call, describe) {
  const before = requests;
  let result;
  try {
    result = await call();
  } catch (error) {
    result = describe(error);
    if (result === undefined) {
      throw error;
    }
  }
  return { ...result, requests: requests - before };
}

// retried calls until a call needs more than one request: there is one a second, and two calls are in
// the same second sooner or later.
async function retried(call) {
  let result;
  let calls = 0;
  do {
    result = await call();
    calls++;
  } while (result.requests === 1 && !result.error && calls < 100);
  return { ...result, calls };
}

// run makes the calls of the groups that the command line names, one by one, and prints what they came to.
async function run(groups, describe) {
  const outcomes = {};
  for (const group of process.argv.slice(2)) {
    for (const [name, call] of Object.entries(groups[group])) {
      outcomes[name] = await outcome(call, describe);
    }
  }
  // Connections that a gateway keeps open do not keep the script alive.
  process.stdout.write(JSON.stringify(outcomes), () => process.exit());
}

// city is the JSON schema of what tools and structured outputs have.
const city = {
  type: 'object',
  properties: { city: { type: 'string' }, residents: { type: 'integer' } },
  required: ['city', 'residents'],
  additionalProperties: false,
};

// picture is a PNG file with one pixel, in base64.
const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';

module.exports = { gateway, key, outcome, retried, run, city, picture };
