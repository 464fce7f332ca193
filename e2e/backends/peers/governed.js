// What the plugin does to a request, in njs: the shortest that works.
async function complete(r) {
  const body = JSON.parse(r.requestText);
  body.model = 'gpt-4o-mini';
  body.temperature = 0.7;
  body.top_p = 0.9;
  body.max_tokens = 512;
  delete body.seed;
  const answer = await r.subrequest('/provider' + r.uri, { method: 'POST', body: JSON.stringify(body) });
  for (const name in answer.headersOut) {
    r.headersOut[name] = answer.headersOut[name];
  }
  r.return(answer.status, answer.responseText);
}

export default { complete };
