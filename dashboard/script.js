'use strict';

// The dashboard of Chat Completion for Traefik. The page opens an event stream at its own URL, keeps
// what the events say, and draws it once per event. No value is guessed: what is unknown shows as –.
// Texts of clients and providers only ever become text nodes. Money is BigInt, in picodollars.
//
// A test can compare the page with the registry by these attributes. A value is exact: an integer,
// picodollars, or the number of seconds. A missing data-value means unknown.
//
//   body[data-state]                    waiting, live, paused, lost
//   body[data-now]                      time of the last event, in milliseconds
//   body[data-range], body[data-by]     the view: 15m, 1h, 24h, start; model, consumer, provider, operation
//   [data-figure=NAME][data-value]      calls, inputTokens, outputTokens, cost and failed are of the range;
//       durationP50, durationP95, firstChunkP50 and firstChunkP95 of successful calls since the start;
//       openStreams is of now
//   [data-figure=NAME][data-total]      the first five since the start, whatever the range
//   [data-figure=hits|misses|bypasses|hitRate][data-value]  of caches, of the range; without a cache there is no such table
//   [data-chart=calls|tokens|cost] path[data-name][data-values]
//       values of a group of bars, in the order of bins; on the chart: data-from, data-bin (ms), data-sum
//   [data-table=model|consumer|provider|operation] tr[data-name]
//       cells [data-column=calls|failed|inputTokens|outputTokens|cost][data-value], of the range;
//       [data-bar][data-value] is the sorted column; the button [data-more] shows all rows
//   [data-table=cache] tr[data-name]    cells hits, misses, bypasses and hitRate, of the range
//   [data-table=latency] tr[data-name]  cells durationP50, durationP95, firstChunkP50, firstChunkP95, calls
//   [data-table=error] tr[data-name][data-badge]     cells count, of the range; by provider, client, limit, plugin or policy
//   [data-table=decision] tr[data-name][data-badge]  cells count, since the start; the badge is the mode
//   [data-table=quota] tr[data-name][data-unit][data-subject][data-middleware]
//       cells used, limit, left, resetsAt, refused, over
//   [data-table=gap] tr[data-gap=unknownCost][data-name=REASON][data-model]      cells count
//   [data-table=gap] tr[data-gap=dropped|lookUpFailure|store][data-name]         cells count
//   [data-table=call] tbody[data-call=ID]    a row, and its record once it is unfolded
//
// A name that is missing is data-name="". The view is in the fragment of the URL.

// What the events say.
const series = new Map(); // by id; each has a name for every dimension, and counts
let steps = [];           // of the history, oldest first
let facts = null;         // the other members of the snapshot, null before the first
let clockOffset = 0;      // of the server's clock against this one, in milliseconds

// The dimensions of the breakdown: the member of a series and of a call, and what to call it.
const dimensions = {
  model: { member: 'requestModel', title: 'Model', none: 'no model' },
  consumer: { member: 'consumer', title: 'Consumer', none: 'no consumer' },
  provider: { member: 'provider', title: 'Provider', none: 'no provider' },
  operation: { member: 'operation', title: 'Endpoint', none: 'no endpoint' },
};
const dimensionNames = Object.keys(dimensions);
const other = '_OTHER'; // beyond the registry's limit of names

const second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
const ranges = { '15m': 15 * minute, '1h': hour, '24h': day, start: Infinity };
const rangeTexts = { '15m': 'last 15 min', '1h': 'last hour', '24h': 'last 24 h', start: 'since start' };

// The view, which the fragment of the URL keeps.
const view = { range: '15m', by: 'model', sort: 'calls', filters: {} };

// ---------------------------------------------------------------- elements

// maker returns a function that makes elements of HTML or SVG. Children that are strings become text.
const maker = (create) => (name, attributes, ...children) => {
  const node = create(name);
  for (const key in attributes) {
    node.setAttribute(key, attributes[key]);
  }
  node.append(...children);
  return node;
};
const element = maker((name) => document.createElement(name));
const shape = maker((name) => document.createElementNS('http://www.w3.org/2000/svg', name));

// picture returns an SVG that says nothing which is not also a text.
const picture = (attributes, ...children) => shape('svg', { 'aria-hidden': 'true', ...attributes }, ...children);

// nameOf returns the text of a client, a provider or a configuration, which may be too long.
const nameOf = (text) => element('span', { class: 'name', title: text }, text);

const badge = (text) => element('span', { class: 'badge ' + text }, text);

const byID = (id) => document.getElementById(id);

// setText changes a text only if it differs, so that a selection survives.
function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

// mark sets an attribute, or removes it if the value is unknown.
function mark(node, name, value) {
  if (value === undefined) {
    node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

// show puts a value into an element: its text, its exact value, and an explanation.
function show(node, text, value, title) {
  setText(node, text);
  mark(node, 'data-value', value);
  mark(node, 'title', title);
}

// keepChildren makes the children of a parent those of items, in their order. It keeps the child of
// a key, so that focus, selection and unfolded records survive.
function keepChildren(parent, items, keyOf, create, update) {
  const focused = document.activeElement, kept = new Map(), keys = new Set(items.map(keyOf));
  for (const child of [...parent.children]) {
    if (keys.has(child.key)) {
      kept.set(child.key, child);
    } else if (child.key !== undefined) {
      child.remove();
    }
  }
  let next = [...parent.children].find((child) => child.key !== undefined) || null;
  for (const item of items) {
    const key = keyOf(item);
    let child = kept.get(key);
    if (!child) {
      child = create(item);
      child.key = key;
    }
    if (child === next) {
      next = next.nextElementSibling;
    } else {
      parent.insertBefore(child, next);
    }
    update(child, item);
  }
  if (focused && focused !== document.activeElement && focused.isConnected) {
    focused.focus({ preventScroll: true });
  }
}

// ---------------------------------------------------------------- texts

const integers = new Intl.NumberFormat('en-US');
const compacts = new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const shortClock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const unknown = '–';

// countText returns a count, in full below a limit.
function countText(count, limit = 1e6) {
  return count === undefined ? unknown : count < limit ? integers.format(count) : compacts.format(count);
}

// numberText returns a positive number with three digits; it never rounds to 0.
function numberText(number) {
  if (number === 0) {
    return '0';
  }
  if (number >= 100) {
    return countText(Math.round(number), 1e5);
  }
  return number < 0.01 ? '<0.01' : number.toFixed(number < 10 ? 2 : 1);
}

const picodollars = 10n ** 12n;

// exactMoney returns an amount as it is, with two digits after the point at least.
function exactMoney(amount) {
  const fraction = String(amount % picodollars).padStart(12, '0').replace(/0+$/, '').padEnd(2, '0');
  return '$' + integers.format(amount / picodollars) + '.' + fraction;
}

// moneyText returns an amount that is rounded half up: to cents from a dollar on, else to three
// digits, below a cent to two. It never rounds to 0.
function moneyText(amount) {
  if (amount === undefined) {
    return unknown;
  }
  if (amount === 0n) {
    return '$0';
  }
  const length = String(amount).length, digits = length > 12 ? 2 : Math.min(12, 12 - length + (length > 10 ? 3 : 2));
  const unit = 10n ** BigInt(12 - digits);
  const rounded = (amount + unit / 2n) / unit;
  const shift = 10n ** BigInt(digits);
  return '$' + integers.format(rounded / shift) + '.' + String(rounded % shift).padStart(digits, '0');
}

// dollarsText returns a rate or a number on an axis, in dollars.
function dollarsText(dollars) {
  return dollars > 0 && dollars < 0.01 ? '<$0.01' : '$' + (dollars < 1000 ? dollars.toFixed(2) : countText(Math.round(dollars), 1e5));
}

// secondsText returns a duration of a call.
function secondsText(seconds) {
  if (seconds < 0.9995) {
    return (seconds < 0.01 ? (seconds * 1000).toPrecision(2) : Math.round(seconds * 1000)) + ' ms';
  }
  return seconds < 100 ? seconds.toPrecision(3) + ' s' : integers.format(Math.round(seconds)) + ' s';
}

const millisecondsText = (ms) => ms === undefined ? unknown : secondsText(ms / 1000);

// spanText returns a span of time in its two largest units.
function spanText(ms) {
  const units = [[day, 'd'], [hour, 'h'], [minute, 'min'], [second, 's']];
  let first = units.findIndex(([length]) => ms >= length);
  if (first < 0) {
    first = 3;
  }
  const [length, name] = units[first], text = Math.floor(ms / length) + ' ' + name;
  const rest = first < 3 && Math.floor(ms % length / units[first + 1][0]);
  return rest ? text + ' ' + rest + ' ' + units[first + 1][1] : text;
}

// timeText returns a time of today as a time, any other with its day.
function timeText(ms) {
  return new Date(ms).toDateString() === new Date(now()).toDateString() ? clock.format(ms) : calendar.format(ms);
}

const now = () => Date.now() + clockOffset;

// nameText returns the name of a value of a dimension.
const nameText = (dimension, name) => name === '' ? dimensions[dimension].none : name === other ? 'other' : name;

// words returns the name of a member as words.
function words(member) {
  const text = member.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => ' ' + letter.toLowerCase());
  return text[0].toUpperCase() + text.slice(1);
}

// ---------------------------------------------------------------- sums

let isPartial = false;         // the history does not reach back to the start of the range
let unpricedModels = new Set(); // models with calls whose cost is unknown

// The values of a series, of its rows in steps, and of bins, in this order.
const cacheKeys = ['hits', 'misses', 'bypasses'], valueKeys = ['calls', 'inputTokens', 'outputTokens', 'cost', ...cacheKeys];
const zeros = () => [0, 0, 0, 0n, 0, 0, 0];

// addTo adds values to others, in place, since there may be very many.
function addTo(sums, values) {
  for (let i = 0; i < sums.length; i++) {
    sums[i] += values[i];
  }
  return sums;
}

// A sum adds up calls. A value is unknown until a series adds a known one. It is partial if some calls
// are not in it: those before the history, or those that a series with successful calls does not know.
const newSum = () => ({ calls: 0, failed: 0, isPartial, partial: {} });

// sumKeys are the columns of sums.
const sumKeys = ['calls', 'failed', 'inputTokens', 'outputTokens', 'cost'];

function addToSum(sum, s, values) {
  const [calls] = values, isServed = calls > 0 && !s.errorType, hasTokens = s.operation === 'chat' || s.operation === 'generate_content';
  valueKeys.forEach((key, i) => {
    if (s.values[i] !== undefined) {
      sum[key] = sum[key] === undefined ? values[i] : sum[key] + values[i];
    } else if (isServed && hasTokens && !cacheKeys.includes(key)) {
      sum.partial[key] = true;
    }
  });
  if (s.errorType) {
    sum.failed += calls;
  }
  if (isServed && unpricedModels.has(s.responseModel || s.requestModel)) {
    sum.partial.cost = true;
  }
}

// sumText returns the text of a value of a sum, its exact value, and what to say about it.
function sumText(sum, key) {
  const value = sum[key];
  if (value === undefined) {
    return [unknown, undefined, 'unknown'];
  }
  const isCost = key === 'cost', exact = isCost ? exactMoney(value) : integers.format(value);
  const text = isCost ? moneyText(value) : countText(value, key.endsWith('Tokens') ? 1e4 : 1e6);
  if (sum.isPartial || sum.partial[key]) {
    return ['≥ ' + text, value, exact + '; unknown for some calls'];
  }
  return [text, value, exact];
}

// compareSums orders by a column, the largest first, the unknown last.
function compareSums(key, a, b) {
  const x = a[key], y = b[key];
  if (x === y) {
    return b.calls - a.calls;
  }
  return x === undefined ? 1 : y === undefined ? -1 : y > x ? 1 : -1;
}

// matches reports whether a series passes the filters.
function matches(s) {
  return dimensionNames.every((name) => view.filters[name] === undefined || view.filters[name] === s.names[name]);
}

// matchesCall reports whether a call passes the filters. A name that the registry does not know is
// counted as other.
function matchesCall(call) {
  return dimensionNames.every((dimension) => {
    const wanted = view.filters[dimension], name = call[dimensions[dimension].member] || '';
    return wanted === undefined || wanted === name || (wanted === other && !knownNames(dimension).has(name));
  });
}

// knownNames returns the names of a dimension, with their calls since the start.
function knownNames(dimension) {
  const names = new Map();
  for (const s of series.values()) {
    names.set(s.names[dimension], (names.get(s.names[dimension]) || 0) + s.calls);
  }
  return names;
}

const hasFilter = () => Object.keys(view.filters).length > 0;

// quantile estimates a quantile of a histogram by interpolation within its bucket. It is undefined
// without values, and infinite beyond the last bound.
function quantile(counts, bounds, q) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!total) {
    return undefined;
  }
  let before = 0, bucket = 0;
  while (before + counts[bucket] < q * total) {
    before += counts[bucket++];
  }
  const low = bucket > 0 ? bounds[bucket - 1] : 0;
  if (bucket === bounds.length) {
    return { value: Infinity, low, high: Infinity };
  }
  return { value: low + (bounds[bucket] - low) * (q * total - before) / counts[bucket], low, high: bounds[bucket] };
}

// showQuantile shows an estimate, and the bucket that it lies in.
function showQuantile(node, estimate) {
  if (!estimate) {
    show(node, unknown, undefined, 'unknown: no call yet');
  } else if (estimate.value === Infinity) {
    show(node, '> ' + secondsText(estimate.low), 'Infinity', 'above the largest bucket');
  } else {
    show(node, secondsText(estimate.value), estimate.value, 'between ' + secondsText(estimate.low) + ' and ' + secondsText(estimate.high));
  }
}

// ---------------------------------------------------------------- events

// takeSeries keeps series of an event.
function takeSeries(list) {
  for (const s of list) {
    s.names = {};
    for (const name of dimensionNames) {
      s.names[name] = s[dimensions[name].member] || '';
    }
    const { hits, misses, bypasses } = s.cache || {};
    s.values = [s.calls, s.inputTokens, s.outputTokens, amount(s.picodollars), hits, misses, bypasses];
    series.set(s.id, s);
  }
}

// takeStep keeps a step of the history. It replaces the one with the same start, which need not be the
// last: a snapshot has a step that is over, and the next update may repeat it.
function takeStep(step) {
  step.rows = step.rows.map(([id, calls, input, output, cost, ...cache]) => [id, [calls, input, output, BigInt(cost), ...cache, 0, 0, 0].slice(0, 7)]);
  const at = steps.findLastIndex(({ start }) => start === step.start);
  steps[at < 0 ? steps.length : at] = step;
}

// forgetSteps merges what is older than an hour into steps of five minutes, as the server does, and
// drops what is older than a day: a page may be open for long.
function forgetSteps() {
  const kept = [];
  for (const step of steps) {
    if (step.start < now() - day - 5 * minute) {
      continue;
    }
    const previous = kept[kept.length - 1];
    if (step.start >= now() - hour - 5 * minute || step.lengthMs >= 5 * minute) {
      kept.push(step);
    } else if (previous && Math.floor(previous.start / (5 * minute)) === Math.floor(step.start / (5 * minute))) {
      mergeStep(previous, step);
    } else {
      kept.push({ ...step, rows: step.rows.map(([id, values]) => [id, [...values]]) });
    }
  }
  steps = kept;
}

function mergeStep(into, step) {
  const rows = new Map(into.rows);
  for (const [id, values] of step.rows) {
    rows.set(id, addTo(rows.get(id) || zeros(), values));
  }
  into.rows = [...rows];
  into.lengthMs = Math.max(into.lengthMs, step.start + step.lengthMs - into.start);
}

function takeSnapshot(snapshot) {
  if (facts && (facts.started !== snapshot.started || facts.instance !== snapshot.instance)) {
    byID('calls').querySelectorAll('tbody').forEach((body) => body.remove()); // ids begin anew
  }
  series.clear();
  steps = [];
  takeSeries(snapshot.series);
  snapshot.history.steps.forEach(takeStep);
  facts = { decisions: [], quotas: [], unknownCosts: [], dropped: {}, lookUpFailures: {}, store: {}, ...snapshot };
  clockOffset = snapshot.now - Date.now();
}

function takeUpdate(update) {
  takeSeries(update.series || []);
  if (update.step) {
    takeStep(update.step);
    forgetSteps();
  }
  for (const key of ['now', 'openStreams', 'decisions', 'quotas', 'store', 'unknownCosts', 'dropped', 'lookUpFailures']) {
    if (update[key] !== undefined) {
      facts[key] = update[key];
    }
  }
  facts.calls = [...(update.calls || []), ...facts.calls].slice(0, 200);
  clockOffset = update.now - Date.now();
}

let source = null;    // the event stream
let retry = 0;        // timer of the next attempt to connect
let attempts = 0;     // that failed in a row
let lostSince = 0;    // time of the loss of the connection, 0 while there is one

// connect opens the event stream. The browser itself reconnects after a lost connection, but not
// after a response that is no stream, such as that of a proxy: then this function does.
function connect() {
  clearTimeout(retry);
  if (source) {
    source.close();
  }
  source = new EventSource(location.pathname + location.search);
  source.addEventListener('snapshot', (event) => receive(takeSnapshot, event));
  source.addEventListener('update', (event) => facts && receive(takeUpdate, event));
  source.onerror = () => {
    lostSince = lostSince || Date.now();
    if (source.readyState === EventSource.CLOSED) {
      retry = setTimeout(connect, Math.min(30, 2 ** ++attempts) * second);
    }
    showState();
  };
}

function receive(take, event) {
  take(JSON.parse(event.data));
  attempts = lostSince = 0;
  requestRender();
}

// A page that nobody sees needs no stream. It gets a fresh snapshot when it is seen again.
let hiddenTimer = 0;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => { source.close(); source = null; }, minute);
  } else if (!source || source.readyState === EventSource.CLOSED) {
    connect();
  }
});
addEventListener('online', connect);

// ---------------------------------------------------------------- state

let isPaused = false;

function showState() {
  const state = lostSince ? 'lost' : !facts ? 'waiting' : isPaused ? 'paused' : 'live';
  document.body.dataset.state = state;
  const texts = {
    waiting: 'Connecting',
    live: 'Live',
    paused: 'Paused at ' + clock.format(drawnAt),
    lost: facts ? 'Connection lost at ' + clock.format(lostSince) + ', reconnecting' : 'No connection, retrying',
  };
  setText(byID('state-text'), texts[state]);
}

function showScope() {
  const since = timeText(facts.started), running = spanText(Math.max(0, now() - facts.started));
  setText(byID('scope'), 'This Traefik' + (facts.instance ? ', ' + facts.instance : '') + ' · since ' + since + ' (' + running + ')');
  const shared = facts.quotas.some((quota) => quota.store === 'redis');
  setText(byID('footer-scope'), 'All figures are those of this Traefik' + (facts.instance ? ', ' + facts.instance + ',' : '') +
    ' since ' + since + (shared ? '. Quotas in Redis are those of all Traefiks.' : '.'));
  document.title = 'Chat Completion · ' + (facts.instance || 'dashboard');
}

// ---------------------------------------------------------------- rendering

let drawnAt = 0;      // time of the figures that are shown
let isRequested = false;

// requestRender draws the page with the next frame, unless it is paused.
function requestRender(force) {
  if (isRequested || !facts || (isPaused && force !== true)) {
    showState();
    return;
  }
  isRequested = true;
  requestAnimationFrame(() => {
    isRequested = false;
    render();
  });
}

function render() {
  drawnAt = now();
  const data = collect();
  document.body.dataset.now = facts.now;
  document.body.dataset.range = view.range;
  document.body.dataset.by = view.by;
  showState();
  showScope();
  showFilters();
  showNotices();
  showFigures(data);
  charts.forEach((chart) => drawChart(chart, data));
  showLegend(data);
  dimensionNames.forEach((name) => showBreakdown(name, data));
  showCache(data);
  showLatency();
  showErrors(data);
  showDecisions();
  showQuotas();
  showGaps();
  showCalls();
}

// collect adds up the series that pass the filters: for the range, by name of each dimension, by
// error, and by bin of the charts. If the range reaches back to the start, the registry has its sums;
// the history may be younger.
function collect() {
  const bins = newBins();
  unpricedModels = new Set(facts.unknownCosts.map(({ model }) => model));
  isPartial = false;
  const total = newSum();
  isPartial = bins.isShort && !bins.isWhole;
  const data = { range: newSum(), total, errors: new Map(), names: {}, bins };
  dimensionNames.forEach((name) => { data.names[name] = new Map(); });
  const shown = new Map();
  for (const s of series.values()) {
    if (matches(s)) {
      shown.set(s.id, { s, values: zeros() });
      addToSum(data.total, s, s.values);
    }
  }
  colors.assign(shown);
  for (const step of steps) {
    const bin = bins.list[Math.floor((step.start - bins.from) / bins.length)];
    for (const [id, values] of bin ? step.rows : []) {
      const sums = shown.get(id);
      if (sums) {
        const color = colors.of(sums.s.names[view.by]);
        addTo(sums.values, values);
        bin.groups[color] = addTo(bin.groups[color] || zeros(), values);
      }
    }
  }
  for (const { s, values: inRange } of shown.values()) {
    const values = bins.isWhole ? s.values : inRange;
    addToSum(data.range, s, values); // what is known is known even without calls
    if (values[0] === 0) {
      continue;
    }
    for (const name of dimensionNames) {
      addToSum(entry(data.names[name], s.names[name]), s, values);
    }
    if (s.errorType) {
      addToSum(entry(data.errors, s.errorType), s, values);
    }
  }
  return data;
}

// entry returns the sum of a name.
function entry(map, name) {
  if (!map.has(name)) {
    map.set(name, newSum());
  }
  return map.get(name);
}

// newBins divides the range into at most 60 bins. A bin ends at a whole multiple of its length. A range
// that is longer than the history begins with it.
function newBins() {
  const since = steps.length ? steps[0].start : now(), wanted = ranges[view.range];
  const range = Math.min(wanted, day, Math.max(3 * minute, now() - since));
  const length = [10 * second, 20 * second, minute, 5 * minute, 15 * minute, 30 * minute].find((choice) => range <= 60 * choice);
  const to = (Math.floor(now() / length) + 1) * length;
  const count = Math.ceil(range / length), from = to - count * length;
  const known = Math.max(from, Math.min(since, now()));
  const list = Array.from({ length: count }, (_, i) => {
    const start = from + i * length;
    return { start, covered: Math.max(0, Math.min(start + length, now()) - Math.max(start, known)), groups: [] };
  });
  const text = range === wanted || !steps.length ? rangeTexts[view.range] : range === day ? rangeTexts['24h'] : 'since ' + shortClock.format(since);
  return { from, to, length, list, known, text, isWhole: now() - wanted <= facts.started, isShort: since > now() - wanted + length };
}

// colors gives the names with most calls a color of their own, which they keep as long as the view
// stays. The others share the last.
const colors = {
  count: 7,
  names: [],
  reset() { this.names = []; },
  assign(shown) {
    const calls = new Map();
    for (const { s } of shown.values()) {
      calls.set(s.names[view.by], (calls.get(s.names[view.by]) || 0) + s.calls);
    }
    for (const [name] of [...calls].sort((a, b) => b[1] - a[1])) {
      if (this.names.length < this.count && !this.names.includes(name)) {
        this.names.push(name);
      }
    }
  },
  of(name) {
    const i = this.names.indexOf(name);
    return i < 0 ? this.count : i;
  },
  nameOf(color) { return color < this.names.length ? nameText(view.by, this.names[color]) : 'all others'; },
};

// ---------------------------------------------------------------- figures

// figures lists the figures of the page: a key, a label, and how to show it.
const figures = [
  ['calls', 'Calls'], ['failed', 'Failed or refused'], ['inputTokens', 'Input tokens'], ['outputTokens', 'Output tokens'],
  ['cost', 'Cost'], ['duration', 'Duration p50 ≈'], ['firstChunk', 'First token p50 ≈'], ['openStreams', 'Open streams'],
].map(([key, label]) => {
  const isPair = key === 'duration' || key === 'firstChunk';
  const value = element('span', { class: 'value', 'data-figure': isPair ? key + 'P50' : key }, unknown);
  const second = element('span', isPair ? { 'data-figure': key + 'P95' } : {});
  const note = element('span', { class: 'note' });
  note.append(...(isPair ? ['p95 ', second, ' since start'] : [second]));
  byID('figures').append(element('div', {}, element('dt', {}, label), element('dd', {}, value, note)));
  return { key, value, second, note };
});

function showFigures(data) {
  const rates = ratesNow();
  for (const figure of figures) {
    const { key, value, second } = figure;
    if (sumKeys.includes(key)) {
      show(value, ...sumText(data.range, key));
      mark(value, 'data-total', data.total[key]);
      setText(second, figureNote(key, data.range, rates));
    } else if (key === 'openStreams') {
      show(value, countText(facts.openStreams), facts.openStreams);
      setText(second, hasFilter() ? 'now, not filtered' : 'now');
    } else {
      const counts = mergedCounts(key, matches);
      showQuantile(value, quantile(counts, facts.bounds[key], 0.5));
      showQuantile(second, quantile(counts, facts.bounds[key], 0.95));
    }
  }
}

// ratesNow returns the values of the last minute per second. It is undefined as long as too little is
// known.
function ratesNow() {
  const tenth = 10 * second, from = Math.max(Math.ceil((now() - minute) / tenth) * tenth, steps.length ? steps[0].start : Infinity);
  const seconds = (now() - from) / second, sums = zeros();
  for (const step of steps.filter(({ start }) => start >= from)) {
    for (const [id, values] of step.rows) {
      if (series.has(id) && matches(series.get(id))) {
        addTo(sums, values);
      }
    }
  }
  return seconds >= 5 ? sums.map((value) => Number(value) / seconds) : undefined;
}

function figureNote(key, sum, rates) {
  if (key === 'failed') {
    return sum.calls ? numberText(100 * sum.failed / sum.calls) + ' % of calls' : 'no calls';
  }
  if (!rates || sum[key] === undefined) {
    return sum[key] === undefined ? 'unknown' : '';
  }
  const rate = rates[valueKeys.indexOf(key)];
  return key === 'cost' ? dollarsText(rate / 1e12 * 3600) + '/h now' : numberText(rate) + '/s now';
}

// mergedCounts returns a histogram of the successful calls of the series that a test selects.
function mergedCounts(key, isWanted) {
  const counts = new Array(facts.bounds[key].length + 1).fill(0);
  for (const s of series.values()) {
    if (!s.errorType && s[key] && isWanted(s)) {
      s[key].forEach((count, i) => { counts[i] += count; });
    }
  }
  return counts;
}

// ---------------------------------------------------------------- charts

const chartHeight = 150, axisHeight = 20, topHeight = 18;

// charts lists the charts: what they show of the values of a group in a bin, the factor to its rate, and its text.
const charts = [
  { key: 'calls', title: 'Calls per second', of: ([calls]) => calls, factor: 1, text: numberText },
  { key: 'tokens', title: 'Tokens per second', of: ([, input, output]) => input + output, factor: 1, text: numberText },
  { key: 'cost', title: 'Cost per hour', of: (values) => values[3], factor: 3600 / 1e12, text: dollarsText },
].map((chart) => {
  chart.note = element('span', { class: 'note' });
  chart.svg = picture({ height: chartHeight, width: '100%' });
  chart.tip = element('div', { class: 'tip', hidden: '' });
  chart.plot = element('div', { class: 'plot', tabindex: '0', role: 'group' }, chart.svg, chart.tip);
  byID('charts').append(element('figure', { class: 'card', 'data-chart': chart.key },
    element('figcaption', {}, element('h3', {}, chart.title), chart.note), chart.plot));
  chart.plot.addEventListener('pointermove', (event) => pointAt(chart, binAt(chart, event)));
  chart.plot.addEventListener('pointerleave', () => pointAt(chart, undefined));
  chart.plot.addEventListener('blur', () => pointAt(chart, undefined));
  chart.plot.addEventListener('keydown', (event) => movePointer(chart, event));
  new ResizeObserver(() => facts && drawnAt && drawChart(chart, chart.data)).observe(chart.plot);
  return chart;
});

// rateOf returns the rate of a value in a bin, undefined if none of the bin's time is known. A bin
// that has just begun is not long enough for a rate: it is drawn as if it had lasted two seconds.
function rateOf(chart, bin, value) {
  return bin.covered ? Number(value) * chart.factor * 1000 / Math.max(bin.covered, 2 * second) : undefined;
}

const binTotal = (chart, bin) => chart.of(bin.groups.reduce(addTo, zeros()));

function drawChart(chart, data) {
  chart.data = data;
  const { bins } = data, width = chart.plot.clientWidth, isKnown = chart.key !== 'cost' || data.total.cost !== undefined;
  const rates = bins.list.map((bin) => rateOf(chart, bin, binTotal(chart, bin)));
  const most = Math.max(0, ...rates.filter((rate) => rate !== undefined));
  const scale = isKnown && most ? niceMaximum(most) : 0, height = chartHeight - axisHeight - topHeight;
  const x = (time) => (time - bins.from) / (bins.to - bins.from) * width, y = (rate) => topHeight + height * (1 - rate / (scale || 1));
  const [parts, labels] = axes(chart, bins, x, y, scale, width);
  for (let color = 0; color <= colors.count; color++) {
    const bars = isKnown && barsOf(chart, bins, color, x, y);
    if (bars) {
      parts.push(bars);
    }
  }
  if (!isKnown || most === 0) {
    parts.push(shape('text', { class: 'empty', x: width / 2, y: topHeight + height / 2 + 4 }, isKnown ? 'No calls' : 'Unknown'));
  }
  if (chart.pointed !== undefined && bins.list[chart.pointed]) {
    const { start } = bins.list[chart.pointed];
    parts.push(shape('rect', { class: 'pointer', x: x(start), y: topHeight, width: x(start + bins.length) - x(start), height }));
  }
  chart.svg.replaceChildren(...parts, ...labels);
  describeChart(chart, bins, rates, most, isKnown);
}

// niceMaximum returns the smallest round number that is not less than a value.
function niceMaximum(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((digit) => digit * power).find((candidate) => candidate >= value * 0.999);
}

// axes returns the lines of a chart with what covers the time that is not known, and its labels.
function axes(chart, bins, x, y, scale, width) {
  const parts = [], labels = [], bottom = chartHeight - axisHeight;
  if (bins.known > bins.from) {
    const end = x(Math.min(bins.known, bins.to)), text = steps.length ? 'no history before ' + timeText(bins.known) : 'no history yet';
    parts.push(shape('rect', { class: 'unknown', x: 0, y: topHeight, width: end, height: bottom - topHeight }));
    if (end > 190) {
      labels.push(shape('text', { class: 'label middle', x: end / 2, y: bottom - 8 }, text));
    }
  }
  for (const part of [0, 0.5, 1]) {
    const at = Math.round(y((scale || 1) * part)) + 0.5;
    parts.push(shape('line', { class: part ? 'grid-line' : 'base-line', x1: 0, x2: width, y1: at, y2: at }));
    if (part === 1 && scale) {
      labels.push(shape('text', { class: 'label', x: 0, y: at - 4 }, chart.text(scale * part)));
    }
  }
  const span = bins.to - bins.from, wanted = span / Math.max(2, Math.floor(width / 80));
  const gap = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360].map((minutes) => minutes * minute).find((choice) => choice >= wanted) || 12 * hour;
  const zone = new Date(bins.to).getTimezoneOffset() * minute;
  for (let time = Math.ceil((bins.from - zone) / gap) * gap + zone; time < bins.to; time += gap) {
    if (x(time) > 18 && x(time) < width - 18) {
      parts.push(shape('line', { class: 'grid-line', x1: x(time), x2: x(time), y1: bottom, y2: bottom + 4 }));
      labels.push(shape('text', { class: 'label middle', x: x(time), y: chartHeight - 4 }, shortClock.format(time)));
    }
  }
  return [parts, labels];
}

// barsOf returns the bars of one color, on top of those before it.
function barsOf(chart, bins, color, x, y) {
  let path = '', sum = chart.of(zeros());
  const values = bins.list.map((bin) => {
    const value = chart.of(bin.groups[color] || zeros()), below = Number(chart.of(bin.groups.slice(0, color).reduce(addTo, zeros())));
    if (value) {
      const low = y(rateOf(chart, bin, below) || 0), high = y(rateOf(chart, bin, below + Number(value)) || 0);
      const gap = x(bin.start + bins.length) - x(bin.start) > 4 ? 1 : 0;
      path += 'M' + x(bin.start).toFixed(1) + ' ' + low.toFixed(1) + 'V' + high.toFixed(1) +
        'H' + (x(bin.start + bins.length) - gap).toFixed(1) + 'V' + low.toFixed(1) + 'z';
      sum += value;
    }
    return value;
  });
  return path && shape('path', {
    class: 'color' + color, d: path, 'data-values': values.join(' '), 'data-sum': sum,
    'data-name': color < colors.names.length ? colors.names[color] : other,
  });
}

// describeChart says in words what a chart shows.
function describeChart(chart, bins, rates, most, isKnown) {
  const known = rates.slice(0, -1).filter((rate) => rate !== undefined), latest = known[known.length - 1];
  const text = !isKnown ? 'unknown' : most ? 'peak ' + chart.text(most) : 'no calls';
  setText(chart.note, text + ' · ' + bins.text);
  mark(chart.plot, 'aria-label', chart.title + ', ' + bins.text + ': ' +
    (!isKnown || latest === undefined ? 'unknown' : 'now ' + chart.text(latest) + ', ' + text) + '. Arrow keys read the values.');
  const figure = chart.plot.parentElement;
  mark(figure, 'data-from', bins.from);
  mark(figure, 'data-bin', bins.length);
  mark(figure, 'data-sum', isKnown ? bins.list.reduce((sum, bin) => sum + binTotal(chart, bin), chart.of(zeros())) : undefined);
  showTip(chart);
}

function binAt(chart, event) {
  const box = chart.plot.getBoundingClientRect();
  return chart.data && Math.floor((event.clientX - box.left) / box.width * chart.data.bins.list.length);
}

// pointAt shows the values of a bin beside it.
function pointAt(chart, index) {
  if (chart.pointed !== index && chart.data) {
    chart.pointed = index;
    drawChart(chart, chart.data);
  }
}

function movePointer(chart, event) {
  const last = chart.data ? chart.data.bins.list.length - 1 : 0, at = chart.pointed === undefined ? last + 1 : chart.pointed;
  const target = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: undefined };
  if (!(event.key in target)) {
    return;
  }
  event.preventDefault();
  const index = target[event.key];
  pointAt(chart, index === undefined ? undefined : Math.max(0, Math.min(last, index)));
  setText(byID('announcement'), chart.tip.hidden ? '' : [...chart.tip.children].map((line) => line.textContent).join(', '));
}

function showTip(chart) {
  const bin = chart.data.bins.list[chart.pointed];
  chart.tip.hidden = !bin;
  if (!bin) {
    return;
  }
  const isKnown = chart.key !== 'cost' || chart.data.total.cost !== undefined;
  const textOf = (value) => bin.covered && isKnown ? chart.text(rateOf(chart, bin, value)) : 'unknown';
  const lines = [element('p', {}, element('b', {}, timeText(bin.start)), ' ', element('b', {}, textOf(binTotal(chart, bin))))];
  bin.groups.forEach((group, color) => {
    if (chart.of(group)) {
      lines.push(element('p', {}, swatch(color), nameOf(colors.nameOf(color)), ' ', element('b', {}, textOf(chart.of(group)))));
    }
  });
  chart.tip.replaceChildren(...lines);
  const width = chart.plot.clientWidth, x = (chart.pointed + 0.5) / chart.data.bins.list.length * width;
  const tipWidth = chart.tip.offsetWidth;
  chart.tip.style.left = Math.max(0, x > width / 2 ? x - tipWidth - 12 : Math.min(x + 12, width - tipWidth)) + 'px';
}

function swatch(color) {
  return picture({ class: 'swatch', width: 9, height: 9 }, shape('rect', { class: 'color' + color, width: 9, height: 9, rx: 2 }));
}

// showLegend names the colors of the charts.
function showLegend(data) {
  const length = colors.names.length + (data.names[view.by].size > colors.count ? 1 : 0);
  byID('legend').replaceChildren(...Array.from({ length }, (_, color) =>
    element('span', {}, swatch(color), nameOf(colors.nameOf(color)))));
}

// ---------------------------------------------------------------- tables

// table returns a card with a table in it. A column is a label and a class.
function table(kind, title, columns, parent) {
  const heads = columns.map(([label, style]) => element('th', { scope: 'col', class: style || '' }, label));
  const body = element('tbody', {}), hint = element('p', { class: 'hint' });
  const card = element('section', { class: 'card', 'aria-labelledby': 'title-' + kind },
    element('h2', { id: 'title-' + kind }, title), hint,
    element('table', { 'data-table': kind }, element('caption', { class: 'hidden' }, title),
      element('thead', {}, element('tr', {}, ...heads)), body));
  byID(parent).append(card);
  return { card, body, hint, heads };
}

// row returns a row of a table with the cells of the columns. The first cell is its heading.
function row(attributes, columns) {
  const tr = element('tr', attributes);
  columns.forEach(([name, style], i) => {
    const cell = i === 0 ? element('th', { scope: 'row' }) : element('td', { 'data-column': name });
    cell.className = style || '';
    tr.append(cell);
    tr[name] = cell;
  });
  return tr;
}

// bar returns a horizontal bar, which setBar sets.
function bar() {
  const fill = shape('rect', { class: 'fill', height: '100%', width: 0, rx: 2 });
  const svg = picture({ class: 'bar', 'data-bar': '' }, shape('rect', { class: 'track', height: '100%', width: '100%', rx: 2 }), fill);
  svg.fill = fill;
  return svg;
}

function setBar(svg, share, value, style) {
  mark(svg.fill, 'width', (100 * Math.max(0, Math.min(1, share))).toFixed(2) + '%');
  mark(svg.fill, 'class', 'fill ' + (style || ''));
  mark(svg, 'data-value', value);
}

// shareOf returns a part of a whole, both numbers or both BigInt.
const shareOf = (part, whole) => whole ? Number(part || 0) / Number(whole) : 0;

const shortRows = 8; // of a table before its button shows all

// limitRows returns the rows to show, and keeps the button that shows all.
function limitRows(target, rows, limit = shortRows) {
  if (!target.more) {
    target.more = element('button', { type: 'button', class: 'more', 'data-more': '', 'aria-expanded': 'false' });
    target.more.addEventListener('click', () => {
      target.more.setAttribute('aria-expanded', String(target.more.getAttribute('aria-expanded') !== 'true'));
      requestRender(true);
    });
    target.card.append(target.more);
  }
  const isOpen = target.more.getAttribute('aria-expanded') === 'true';
  target.more.hidden = rows.length <= limit;
  setText(target.more, isOpen ? 'Show fewer' : 'Show all ' + integers.format(rows.length));
  return isOpen ? rows : rows.slice(0, limit);
}

// showEmpty shows a text instead of a table without rows.
function showEmpty(target, isEmpty, text) {
  target.body.parentElement.hidden = isEmpty;
  target.hint.hidden = !isEmpty && !target.note;
  setText(target.hint, isEmpty ? text : target.note || '');
}

// whenText says when there was nothing.
const whenText = () => view.range === 'start' ? 'yet' : 'in the ' + rangeTexts[view.range];

const breakdownColumns = [
  ['name', 'wide'], ['calls', 'number'], ['failed', 'number optional'], ['inputTokens', 'number'], ['outputTokens', 'number'], ['cost', 'number'],
];
const columnTitles = { calls: 'Calls', failed: 'Failed', inputTokens: 'Input', outputTokens: 'Output', cost: 'Cost' };

const breakdowns = {};
for (const name of dimensionNames) {
  const { title } = dimensions[name];
  const target = table(name, 'By ' + title.toLowerCase(), [[title, 'wide'], ...breakdownColumns.slice(1).map(([, style]) => ['', style])], 'breakdown');
  sumKeys.forEach((key, i) => {
    const button = element('button', { type: 'button' }, columnTitles[key]);
    button.addEventListener('click', () => changeView({ sort: key }));
    target.heads[i + 1].append(button);
  });
  breakdowns[name] = target;
}

function showBreakdown(dimension, data) {
  const target = breakdowns[dimension], key = view.sort;
  const rows = [...data.names[dimension]].sort((a, b) => compareSums(key, a[1], b[1]) || (a[0] < b[0] ? -1 : 1));
  sumKeys.forEach((column, i) => mark(target.heads[i + 1], 'aria-sort', column === key ? 'descending' : undefined));
  keepChildren(target.body, limitRows(target, rows), ([name]) => name, ([name]) => breakdownRow(dimension, name), (tr, [name, sum]) => {
    sumKeys.forEach((column) => show(tr[column], ...sumText(sum, column)));
    setBar(tr.bar, shareOf(sum[key], rows[0][1][key]), sum[key], dimension === view.by ? 'color' + colors.of(name) : '');
    mark(tr.button, 'aria-pressed', view.filters[dimension] === name);
  });
  showEmpty(target, rows.length === 0, 'No calls ' + whenText() + '.');
}

// breakdownRow returns a row whose name is a button that filters by it.
function breakdownRow(dimension, name) {
  const tr = row({ 'data-name': name }, breakdownColumns), text = nameText(dimension, name);
  tr.button = element('button', { type: 'button', class: 'name', title: text, 'aria-pressed': 'false' }, text);
  tr.button.addEventListener('click', () => setFilter(dimension, view.filters[dimension] === name ? undefined : name));
  tr.bar = bar();
  tr.name.append(tr.button, tr.bar);
  return tr;
}

// ---------------------------------------------------------------- cache

const cacheColumns = [['name', 'wide'], ['hits', 'number'], ['misses', 'number'], ['bypasses', 'number'], ['hitRate', 'number']];
const cacheHeads = { hits: 'Hits', misses: 'Misses', bypasses: 'Bypassed', hitRate: 'Hit rate' };
const cacheTable = table('cache', 'Cache', [['', 'wide'], ...Object.values(cacheHeads).map((head) => [head, 'number'])], 'cache');
const cacheFigures = {};
for (const key in cacheHeads) {
  cacheFigures[key] = element('b', { 'data-figure': key });
  cacheTable.hint.append(cacheHeads[key] + ' ', cacheFigures[key], key === 'hitRate' ? ' of hits and misses · ' : ' · ');
}
const cacheNote = element('span', {});
cacheTable.hint.append(cacheNote);

// showCache shows what caches did with the calls of the range. Without a cache, there is no such section.
function showCache(data) {
  const isUsed = data.total.hits !== undefined;
  byID('cache').hidden = !isUsed;
  if (!isUsed) {
    return;
  }
  const rows = [...data.names[view.by]].filter(([, sum]) => sum.hits !== undefined).sort((a, b) => b[1].hits - a[1].hits);
  setText(cacheTable.heads[0], dimensions[view.by].title);
  setText(cacheNote, rangeTexts[view.range]);
  showResults(cacheFigures, data.range);
  keepChildren(cacheTable.body, limitRows(cacheTable, rows), ([name]) => view.by + ' ' + name, ([name]) => {
    const tr = row({ 'data-name': name }, cacheColumns);
    tr.bar = bar();
    tr.name.append(nameOf(nameText(view.by, name)), tr.bar);
    return tr;
  }, (tr, [name, sum]) => {
    showResults(tr, sum);
    setBar(tr.bar, shareOf(sum.hits, rows[0][1].hits), sum.hits, 'color' + colors.of(name));
  });
}

// showResults shows the values of a sum that are of caches.
function showResults(nodes, sum) {
  const asked = sum.hits + sum.misses, rate = asked ? sum.hits / asked : undefined;
  cacheKeys.forEach((key) => show(nodes[key], ...sumText(sum, key)));
  show(nodes.hitRate, rate === undefined ? unknown : numberText(100 * rate) + ' %', rate);
}

// ---------------------------------------------------------------- latency

const latencyColumns = [
  ['name', 'wide'], ['calls', 'number optional'], ['durationP50', 'number'], ['durationP95', 'number'], ['durationPlot', 'plotted optional'],
  ['firstChunkP50', 'number'], ['firstChunkP95', 'number'], ['firstChunkPlot', 'plotted optional'],
];
const latency = table('latency', 'Latency', [
  ['', 'wide'], ['Calls', 'number optional'], ['Duration p50', 'number'], ['p95', 'number'], ['10 ms to 100 s', 'plotted optional'],
  ['First token p50', 'number'], ['p95', 'number'], ['1 ms to 100 s', 'plotted optional'],
], 'latency');
latency.note = 'Successful calls since start. Estimates: interpolated within the buckets of histograms.';
const plotScales = { duration: [0.01, 100], firstChunk: [0.001, 100] };

function showLatency() {
  setText(latency.heads[0], dimensions[view.by].title);
  const byName = new Map();
  for (const s of series.values()) {
    if (matches(s) && !s.errorType) {
      const name = s.names[view.by];
      byName.set(name, (byName.get(name) || 0) + s.calls);
    }
  }
  const rows = [...byName].sort((a, b) => b[1] - a[1]);
  keepChildren(latency.body, limitRows(latency, rows), ([name]) => view.by + ' ' + name, ([name]) => latencyRow(name), (tr, [name, calls]) => {
    show(tr.calls, countText(calls), calls);
    mark(tr.swatch.firstChild, 'class', 'color' + colors.of(name));
    for (const key of ['duration', 'firstChunk']) {
      const counts = mergedCounts(key, (s) => s.names[view.by] === name && matches(s));
      const estimates = [0.5, 0.95].map((q) => quantile(counts, facts.bounds[key], q));
      showQuantile(tr[key + 'P50'], estimates[0]);
      showQuantile(tr[key + 'P95'], estimates[1]);
      drawSpread(tr[key + 'Plot'].firstChild, key, estimates, 'color' + colors.of(name));
    }
  });
  showEmpty(latency, rows.length === 0, 'No successful calls yet.');
}

function latencyRow(name) {
  const tr = row({ 'data-name': name }, latencyColumns);
  tr.swatch = swatch(0);
  tr.name.append(tr.swatch, nameOf(nameText(view.by, name)));
  tr.durationPlot.append(picture({ class: 'spread' }));
  tr.firstChunkPlot.append(picture({ class: 'spread' }));
  return tr;
}

// drawSpread draws a line from p50 to p95 on a logarithmic scale, with a line per power of ten.
function drawSpread(svg, key, estimates, style) {
  const [low, high] = plotScales[key], parts = [], decades = Math.log10(high / low);
  const at = (seconds) => (3 + 94 * Math.max(0, Math.min(1, Math.log10(seconds / low) / decades))).toFixed(1) + '%';
  for (let decade = 0; decade <= decades; decade++) {
    const x = at(low * 10 ** decade);
    parts.push(shape('line', { class: 'grid-line', x1: x, x2: x, y1: 0, y2: '100%' }));
  }
  if (estimates[0]) {
    const [x1, x2] = estimates.map(({ value }) => at(value));
    parts.push(shape('line', { class: 'line ' + style, x1, x2, y1: '50%', y2: '50%' }),
      shape('circle', { class: style, cx: x1, cy: '50%', r: 4 }), shape('circle', { class: 'ring ' + style, cx: x2, cy: '50%', r: 3 }));
  }
  svg.replaceChildren(...parts);
}

// ---------------------------------------------------------------- errors and decisions

// kinds says who ended a call, by error.type. A status is the provider's; any other value is the
// code of a refusal.
const kinds = {
  connection_failed: 'provider', timeout: 'provider', provider_cut: 'provider', error_event: 'provider', client_gone: 'client',
  stream_timeout: 'limit', response_too_large: 'limit', panic: 'plugin',
};
const kindOf = (errorType) => kinds[errorType] || (/^\d{3}$/.test(errorType) ? 'provider' : 'policy');

const errors = table('error', 'Errors and refusals', [['Error', 'wide'], ['Ended by', ''], ['Calls', 'number']], 'more');
const decisions = table('decision', 'Policy decisions', [['Decision', 'wide'], ['Mode', ''], ['Requests', 'number']], 'more');

// showCounts shows rows with a name, a badge and a count, the largest first.
function showCounts(target, rows, empty) {
  rows.sort((a, b) => b.count - a.count);
  keepChildren(target.body, limitRows(target, rows), (item) => item.badge + ' ' + item.name, (item) => {
    const tr = row({ 'data-name': item.name, 'data-badge': item.badge }, [['name', 'wide'], ['badge', ''], ['count', 'number']]);
    tr.bar = bar();
    tr.name.append(nameOf(item.name), tr.bar);
    tr.badge.append(badge(item.badge));
    return tr;
  }, (tr, { count, style }) => {
    show(tr.count, countText(count), count);
    setBar(tr.bar, shareOf(count, rows[0].count), count, style);
  });
  showEmpty(target, rows.length === 0, empty);
}

function showErrors(data) {
  const rows = [...data.errors].map(([name, sum]) => ({ name, badge: kindOf(name), count: sum.calls }));
  rows.forEach((item) => { item.style = item.badge === 'policy' ? 'policy' : 'bad'; });
  showCounts(errors, rows, 'None ' + whenText() + '.');
}

function showDecisions() {
  decisions.note = 'Since start' + (hasFilter() ? ', not filtered.' : '.');
  showCounts(decisions, facts.decisions.map(({ decision, mode, count }) => ({ name: decision, badge: mode, count, style: 'policy' })), 'None yet.');
}

// ---------------------------------------------------------------- quotas

const quotaColumns = [['name', ''], ['used', 'wide'], ['left', 'number'], ['resetsAt', 'number'], ['refused', 'number'], ['over', 'number optional']];
const quotaTitles = ['Quota', 'Used', 'Left', 'Resets in', 'Refused', 'In report mode'];
const quotas = table('quota', 'Quotas', quotaColumns.map(([, style], i) => [quotaTitles[i], style]), 'quotas');
const unitTexts = { inputTokens: 'input tokens', outputTokens: 'output tokens', concurrent: 'at a time', cost: '' };

// amount returns a value of a quota as BigInt, undefined if it is unknown.
const amount = (value) => value === undefined || value === null ? undefined : BigInt(value);

function showQuotas() {
  const wanted = view.filters.consumer, isShown = ({ subject }) => wanted === undefined || !subject || subject === wanted || !knownNames('consumer').has(subject);
  const rows = facts.quotas.filter(isShown).map((quota) => ({ quota, share: shareOf(amount(quota.used), amount(quota.limit)) })).sort((a, b) => b.share - a.share);
  byID('quotas').hidden = facts.quotas.length === 0;
  keepChildren(quotas.body, limitRows(quotas, rows), ({ quota: q }) => [q.name, q.unit, q.subject, q.middleware].join('\n'), quotaRow, updateQuota);
  const shared = facts.quotas.filter((quota) => quota.store === 'redis').length;
  setText(quotas.hint, (shared === 0 ? 'Counted by this Traefik.' : shared === facts.quotas.length ? 'Counted in Redis, for all Traefiks.' :
    'Counted by this Traefik; those with the mark “shared” in Redis, for all Traefiks.') + ' The present window of each, fullest first.');
}

function quotaRow({ quota: q }) {
  const tr = row({ 'data-name': q.name, 'data-unit': q.unit, 'data-subject': q.subject || '', 'data-middleware': q.middleware || '' }, quotaColumns);
  const text = q.subject || q.middleware || 'everybody';
  tr.name.append(element('span', { class: 'pair' }, nameOf(q.name), q.store === 'redis' ? badge('shared') : ''), element('span', { class: 'note name', title: text }, text));
  tr.text = element('span', {});
  tr.limit = element('span', { 'data-column': 'limit' });
  tr.bar = bar();
  tr.used.append(element('span', { class: 'amounts' }, tr.text, ' of ', tr.limit, ' ' + (unitTexts[q.unit] ?? q.unit)), tr.bar);
  return tr;
}

function updateQuota(tr, { quota: q, share }) {
  const used = amount(q.used), limit = amount(q.limit), isCost = q.unit === 'cost';
  const left = used === undefined || limit === undefined ? undefined : limit > used ? limit - used : 0n;
  const text = (value) => value === undefined ? unknown : isCost ? moneyText(value) : countText(Number(value));
  const exact = (value) => value === undefined ? 'unknown' : isCost ? exactMoney(value) : integers.format(value);
  show(tr.text, text(used), undefined, exact(used));
  mark(tr.used, 'data-value', used);
  show(tr.limit, text(limit), limit, exact(limit));
  show(tr.left, text(left), left, exact(left));
  show(tr.resetsAt, q.resetsAt === undefined ? unknown : spanText(Math.max(0, q.resetsAt - now())), q.resetsAt,
    q.resetsAt === undefined ? 'does not reset at a time' : timeText(q.resetsAt));
  show(tr.refused, countText(q.refused), q.refused);
  show(tr.over, countText(q.over), q.over);
  setBar(tr.bar, share, used, share >= 1 ? 'bad' : share >= 0.8 ? 'warn' : '');
}

// ---------------------------------------------------------------- notices and gaps

function showNotices() {
  const texts = [];
  if (facts.store.up === false) {
    texts.push('Redis is unavailable. Quotas are decided without it: ' + countText(facts.store.fallbacks) + ' requests since start.');
  }
  keepChildren(byID('notices'), texts, (text) => text, (text) => element('p', { class: 'notice' }, text), () => {});
}

const gapColumns = [['name', 'wide'], ['detail', 'wide'], ['count', 'number']];
const gaps = table('gap', 'Gaps in these figures', [['Gap', 'wide'], ['Of', 'wide'], ['Count', 'number']], 'gaps');
gaps.note = 'Since start.';
const gapTexts = {
  no_price: 'Cost unknown: no price', no_usage: 'Cost unknown: no usage reported', series: 'Counted as “other”: too many series',
  usage: 'Usage in an unsupported encoding', span: 'Span dropped', export: 'Export of metrics failed',
  errors: 'Redis command failed', fallbacks: 'Request decided without Redis',
};

// showGaps lists what the figures lack. Without any, there is no such section.
function showGaps() {
  const rows = [
    ...facts.unknownCosts.map(({ reason, model, count }) => ['unknownCost', reason, model, count]),
    ...Object.entries(facts.dropped).map(([kind, count]) => ['dropped', kind, 'telemetry', count]),
    ...Object.entries(facts.lookUpFailures).map(([key, count]) => ['lookUpFailure', key, 'failed look-ups', count]),
    ...['errors', 'fallbacks'].map((key) => ['store', key, 'quotas', facts.store[key]]),
  ].filter(([, , , count]) => count > 0);
  gaps.card.hidden = rows.length === 0;
  keepChildren(gaps.body, limitRows(gaps, rows), (gap) => gap.slice(0, 3).join('\n'), ([kind, name, detail]) => {
    const tr = row({ 'data-gap': kind, 'data-name': name, 'data-model': kind === 'unknownCost' ? detail : '' }, gapColumns);
    tr.name.append(nameOf(kind === 'lookUpFailure' ? name : gapTexts[name] || name));
    tr.detail.append(nameOf(detail));
    return tr;
  }, (tr, [, , , count]) => show(tr.count, countText(count), count));
  setText(gaps.hint, gaps.note);
}

// ---------------------------------------------------------------- calls

const callTable = document.querySelector('#calls table');
const callColumns = [
  ['time', ''], ['consumer', 'optional'], ['model', 'wide'], ['operation', 'optional'], ['outcome', ''], ['duration', 'number'],
  ['firstChunk', 'number optional'], ['inputTokens', 'number optional'], ['outputTokens', 'number optional'], ['cost', 'number'],
];

const callCard = { card: byID('calls') };
const shortCalls = 25; // before the button shows all

function showCalls() {
  const matching = facts.calls.filter(matchesCall), shown = matching.length;
  keepChildren(callTable, limitRows(callCard, matching, shortCalls), (call) => call.id, callBody, () => {});
  callTable.hidden = shown === 0;
  setText(byID('calls-hint'), facts.calls.length === 0 ? 'No calls yet.' : 'Newest first, without content and keys. ' +
    (shown < facts.calls.length ? shown + ' of the last ' + facts.calls.length + ' match the filter.' : 'A row unfolds to its record.'));
}

// callBody returns a call as a row of a body of its own, which the record follows.
function callBody(call) {
  const tr = row({}, callColumns), body = element('tbody', { 'data-call': call.id }, tr);
  const button = element('button', { type: 'button', 'aria-expanded': 'false' }, chevron(), clock.format(call.start));
  button.addEventListener('click', () => toggleRecord(body, button, call));
  tr.time.append(button);
  for (const key of ['consumer', 'model', 'operation']) {
    tr[key].append(nameOf(call[dimensions[key].member] || unknown));
  }
  tr.outcome.append(outcome(call));
  const cost = amount(call.picodollars), estimate = call.estimated ? '~' : '';
  show(tr.duration, millisecondsText(call.durationMs), call.durationMs);
  show(tr.firstChunk, millisecondsText(call.firstChunkMs), call.firstChunkMs);
  show(tr.inputTokens, call.inputTokens === undefined ? unknown : estimate + countText(call.inputTokens), call.inputTokens);
  show(tr.outputTokens, call.outputTokens === undefined ? unknown : estimate + countText(call.outputTokens), call.outputTokens);
  show(tr.cost, moneyText(cost), cost, cost === undefined ? 'unknown' : exactMoney(cost));
  return body;
}

const chevron = () => picture({ class: 'chevron', viewBox: '0 0 10 10', width: 10, height: 10 }, shape('path', { d: 'M3 1l4 4-4 4' }));

// outcome returns the status, and how the call ended if it failed.
function outcome(call) {
  const status = call.status ? String(call.status) : unknown;
  if (!call.errorType) {
    return element('span', { class: 'badge ok' }, status);
  }
  const kind = kindOf(call.errorType), text = call.errorType === status ? status : status + ' ' + call.errorType;
  return element('span', { class: 'badge name ' + kind, title: text }, text);
}

function toggleRecord(body, button, call) {
  const isOpen = button.getAttribute('aria-expanded') === 'true';
  button.setAttribute('aria-expanded', String(!isOpen));
  if (isOpen) {
    body.lastElementChild.remove();
  } else {
    body.append(element('tr', { class: 'record' }, element('td', { colspan: callColumns.length }, record(call))));
  }
}

const recordTexts = {
  start: (value) => new Date(value).toISOString(),
  picodollars: (value) => exactMoney(BigInt(value)),
  status: String,
  id: String,
};
const recordWords = { picodollars: 'Cost', firstChunkMs: 'First token', id: 'Number', traceId: 'Trace', gatewayMs: 'In the gateway' };

// record returns all members of a call. One that is missing is unknown, or does not apply.
function record(call) {
  const list = element('dl', {});
  const add = (label, text) => list.append(element('div', {}, element('dt', {}, label), element('dd', {}, text)));
  for (const [key, value] of Object.entries(call)) {
    if (key === 'labels') {
      Object.entries(value).forEach(([name, text]) => name in call || add('Label ' + name, String(text)));
    } else {
      add(recordWords[key] || words(key), recordText(key, value));
    }
  }
  return list;
}

function recordText(key, value) {
  if (recordTexts[key]) {
    return recordTexts[key](value);
  }
  if (typeof value === 'boolean') {
    return value ? 'yes' : 'no';
  }
  return typeof value !== 'number' ? String(value) : key.endsWith('Ms') ? integers.format(value) + ' ms' : integers.format(value);
}

// ---------------------------------------------------------------- view

const form = byID('view');

// showFilters keeps the choices of the filters those names that the series have.
function showFilters() {
  for (const dimension of dimensionNames) {
    const select = form.elements[dimension], chosen = view.filters[dimension];
    const names = [...knownNames(dimension).keys()].sort();
    if (chosen !== undefined && !names.includes(chosen)) {
      names.push(chosen);
    }
    keepChildren(select, ['', ...names.map((name) => '=' + name)], (value) => value, (value) => element('option', { value },
      value ? nameText(dimension, value.slice(1)) : 'All ' + dimensions[dimension].title.toLowerCase() + 's'), () => {});
    const value = chosen === undefined ? '' : '=' + chosen;
    if (select.value !== value) {
      select.value = value;
    }
    select.classList.toggle('set', chosen !== undefined);
  }
  form.elements.range.value = view.range;
  form.elements.by.value = view.by;
  byID('clear').hidden = !hasFilter();
}

function setFilter(dimension, name) {
  const filters = { ...view.filters, [dimension]: name };
  if (name === undefined) {
    delete filters[dimension];
  }
  changeView({ filters });
}

// changeView changes the view, writes it into the URL, and draws the page at once.
function changeView(changes) {
  Object.assign(view, changes);
  colors.reset();
  const parameters = new URLSearchParams({ range: view.range, by: view.by, sort: view.sort });
  for (const name in view.filters) {
    parameters.set(name, view.filters[name]);
  }
  history.replaceState(null, '', '#' + parameters);
  if (facts) {
    render();
  } else {
    showFilters();
  }
}

// readView reads the view from the URL.
function readView() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const choices = { range: Object.keys(ranges), by: dimensionNames, sort: sumKeys };
  for (const key in choices) {
    if (choices[key].includes(parameters.get(key))) {
      view[key] = parameters.get(key);
    }
  }
  view.filters = {};
  for (const name of dimensionNames) {
    if (parameters.has(name)) {
      view.filters[name] = parameters.get(name);
    }
  }
}

form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('change', ({ target }) => {
  if (target.name === 'range' || target.name === 'by') {
    changeView({ [target.name]: target.value });
  } else {
    setFilter(target.name, target.value ? target.value.slice(1) : undefined);
  }
});
byID('clear').addEventListener('click', () => {
  changeView({ filters: {} });
  form.elements.consumer.focus();
});
byID('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  byID('pause').setAttribute('aria-pressed', String(isPaused));
  requestRender(!isPaused);
});
addEventListener('hashchange', () => {
  readView();
  colors.reset();
  requestRender(true);
});

// Rates, charts and times until a reset move on without events, too.
setInterval(() => !lostSince && requestRender(), 5 * second);

readView();
showFilters();
connect();
