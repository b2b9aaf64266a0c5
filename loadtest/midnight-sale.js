// Midnight: visitors look around all the time; at one instant a herd of buyers checks out, and the shop is deployed. Some come
// late, all at once again, and then one of the workers is killed. Every buyer goes on, with the same Idempotency-Key, until
// there is a definite answer, and some ask again afterwards. "make sale" runs it and audits the books against what the buyers were told.
//
//   k6 run -e SHOP=http://localhost:3000 loadtest/midnight-sale.js
//
// What was told goes to the console as JSON, one line per answer: the log that "doorbuster audit --acks" reads.
// --console-output and --log-format=raw make a file of it.
//
//   BUYERS=500        the herd. Each is a VU of k6 with a connection of its own
//   SKU               what they want
//   PREPARE=10        seconds before midnight, in which carts are filled
//   MIDNIGHT          when it is (RFC 3339), instead of PREPARE seconds from now: for several k6 that share a herd
//   BROWSE=50         visitors' requests a second, sent on time whether the shop answers or not
//   LATE=4            seconds after midnight at which every tenth buyer comes, and a worker is killed; longer for a large herd
//   AFTER=LATE+6      seconds of visitors after midnight
//   ADMIN, ADMIN_TOKEN  where the master takes commands; without it nothing is deployed or killed
//   RELOAD=true, KILL=true
//   BUYER_P99, LATE_P99, READ_P99, CART_P99, CHECKOUT_P99   the limits, in ms
//   OUT               folder for summary.json
//
// The shop limits what one address may ask for, so each buyer has an address of its own in X-Forwarded-For. "doorbuster dev" and the
// compose file believe that; another shop has to name this machine in TRUSTED_PROXIES, or it answers 429.
//
// 30,000 buyers take 8 GB for k6 (270 KB each), as many descriptors for k6, and half as many for each of two workers (ulimit -n), more
// ports than Linux gives one client (sysctl net.ipv4.ip_local_port_range="1024 65535"), and PREPARE=120 to fill the carts. A
// process that may only have 20,000 descriptors shares them with a second one: both with the same MIDNIGHT, one with
// --execution-segment=0:1/2 and one with 1/2:1, and --execution-segment-sequence=0,1/2,1. So it was measured, k6, shop and
// databases on the same 2 cores, with a deploy and a killed worker: 400 units sold, all others told, none failed, p50 5 s and
// p99 8.1 s from midnight, and the audit found nothing (make bench-checkout sells 30,000 units). 15,000 buyers of one k6: p50
// 2.5 s, p99 4.8 s, 4.1 GB.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, sleep } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';

const setting = (name, usual) => __ENV[name] || usual;
const number = (name, usual) => Number(setting(name, usual));

const shop = setting('SHOP', 'http://localhost:3000');
const admin = setting('ADMIN', '');
const sku = setting('SKU', 'AURORA-55-OLED');
const buyers = number('BUYERS', 500);
const browse = number('BROWSE', 50);
const announced = setting('MIDNIGHT', '') && Date.parse(setting('MIDNIGHT', ''));
if (Number.isNaN(announced)) {
  throw new Error(`MIDNIGHT is ${setting('MIDNIGHT', '')}, which is no time: say it like 2026-11-27T00:00:00Z`);
}
const prepare = announced === '' ? number('PREPARE', 10) : Math.max(1, Math.ceil((announced - Date.now()) / 1000));
const late = number('LATE', Math.max(4, Math.ceil(buyers / 1500)));
const after = number('AFTER', late + 6);
const reloads = admin !== '' && setting('RELOAD', 'true') === 'true';
const kills = admin !== '' && setting('KILL', 'true') === 'true';
const crowded = 2000 + 0.6 * buyers; // ms that a herd may take on two cores which k6 uses too: more than twice what it does take
const patience = 180; // seconds after midnight in which the last buyer knows

// What became of the buyers. An answer of 409, 429 or 503 is the shop at work, not a failure, and is counted apart.
const orders = new Counter('sale_orders');
const soldOut = new Counter('sale_sold_out');
const shed = new Counter('sale_shed'); // 503, 429: come back later
const held = new Counter('sale_held'); // out of stock, but payments under way hold some: come back later
// The connection ended without an answer. Go, in which k6 is written, silently sends a request with an Idempotency-Key once more
// when a connection that it had before ends without a byte (net/http, Transport): so these are the cuts that nothing hides.
// That a deploy cuts nobody at all is for cmd/doorbuster's tests to prove, whose client does not repeat.
const cut = new Counter('sale_cut');
const killed = new Counter('sale_cut_by_kill'); // the same, since the worker was killed: it takes with it what it worked on
const failed = new Counter('sale_failed'); // any other answer
const undecided = new Counter('sale_undecided'); // buyers who gave up
const known = new Rate('sale_known'); // buyers who have an order, or know that it is sold out
const decided = new Trend('sale_decided', true); // from midnight to the herd's definite answers
const ordered = new Trend('sale_ordered', true); // the same, of those who bought
const decidedHeld = new Trend('sale_decided_held', true); // the same, of those who were told before that units are held
const decidedLate = new Trend('sale_decided_late', true); // of those who came late, from then on
const strays = new Rate('visitors_failed');

export const options = {
  scenarios: {
    visitors: {
      executor: 'constant-arrival-rate', exec: 'look', rate: browse, timeUnit: '1s',
      duration: `${prepare + after}s`, preAllocatedVUs: 5 * browse, maxVUs: 60 * browse, // answers may take that many seconds
    },
    herd: {
      executor: 'per-vu-iterations', exec: 'buy', vus: buyers, iterations: 1, maxDuration: `${prepare + patience}s`,
    },
    ...(reloads || kills ? { operator: { executor: 'per-vu-iterations', exec: 'operate', vus: 1, iterations: 1, maxDuration: `${prepare + patience}s` } } : {}),
  },
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'], // or the visitors were fewer than promised, and the figures flatter
    sale_failed: ['count==0'],
    sale_known: ['rate==1'],
    sale_cut: ['count==0'],
    sale_cut_by_kill: [`count<=${Math.ceil(0.2 * buyers)}`],
    visitors_failed: [kills ? 'rate<0.02' : 'rate==0'],
    sale_decided: [`p(99)<${number('BUYER_P99', crowded)}`],
    sale_decided_late: [`p(99)<${number('LATE_P99', crowded + 5000)}`], // with a second try after a second or two
    'http_req_duration{name:product}': [`p(99)<${number('READ_P99', 2000)}`],
    'http_req_duration{name:cart}': [`p(99)<${number('CART_P99', 3000)}`],
    'http_req_duration{name:checkout}': [`p(99)<${number('CHECKOUT_P99', crowded)}`],
  },
  summaryTrendStats: ['count', 'med', 'p(99)', 'max'],
  setupTimeout: '30s',
};

// from is the address of a buyer: of the prefix for documentation, 2001:db8::/32 (RFC 3849), in a /64 of its own.
const from = (name) => {
  let id = 0;
  for (const c of `${name}-${exec.vu.idInTest}`) {
    id = (Math.imul(id, 31) + c.charCodeAt(0)) >>> 0;
  }
  return { 'X-Forwarded-For': `2001:db8:${(id >>> 16).toString(16)}:${(id & 65535).toString(16)}::1` };
};

const named = (name, headers) => ({ tags: { name }, timeout: '60s', headers: { 'Content-Type': 'application/json', ...headers } });

// setup agrees on midnight.
export function setup() {
  const ready = http.get(`${shop}/readyz`);
  if (ready.status !== 200) {
    exec.test.abort(`there is no shop at ${shop} (${ready.error || ready.status}): "make run" opens one`);
  }
  if (announced !== '' && announced < Date.now()) {
    exec.test.abort(`MIDNIGHT is ${setting('MIDNIGHT', '')}, which has passed`);
  }
  return { midnight: announced || Date.now() + prepare * 1000, name: Math.random().toString(36).slice(2) };
}

const until = (instant) => sleep(Math.max(0, instant - Date.now()) / 1000);

export function look() {
  const pages = ['aurora-55-oled-tv', 'tonquay-hush-headphones', ''];
  const page = pages[exec.scenario.iterationInTest % pages.length];
  const r = http.get(page === '' ? `${shop}/v1/products?category=doorbusters&limit=10` : `${shop}/v1/products/${page}`, named('product'));
  strays.add(r.status !== 200);
}

export function buy({ midnight, name }) {
  let outcome = {};
  try {
    outcome = purchase(midnight, `sale-${name}-${exec.vu.idInTest}`);
  } finally {
    known.add(outcome.definite === true);
  }
}

function purchase(midnight, key) {
  const nth = exec.scenario.iterationInInstance; // from 0 on, and without gaps
  const isLate = nth % 10 === 5;
  const mine = midnight + (isLate ? late * 1000 : 0);
  sleep((Math.random() * 0.7 * Math.max(0, midnight - Date.now())) / 1000); // they don't all come in together
  const filled = http.put(`${shop}/v1/cart/items/${sku}`, JSON.stringify({ quantity: 1 }), named('cart', from(key)));
  check(filled, { 'the cart is filled': (r) => r.status === 200 });
  until(mine);
  const outcome = persist(key, midnight);
  const took = Date.now() - mine;
  if (outcome.definite) {
    (isLate ? decidedLate : outcome.waited ? decidedHeld : decided).add(took);
  }
  if (outcome.order && !isLate) {
    ordered.add(took);
  }
  if (nth % 10 === 0) { // not sure whether it has worked: once more, with the same key
    sleep(Math.random() * 2);
    const again = checkOut(key, midnight);
    check(again, {
      'a repeat is answered the same': (r) => r.status === 503 || r.status === 429 || r.status === 0 ||
        (outcome.order ? field(r, 'id') === outcome.order : r.status === 409 || !outcome.definite),
    });
  }
  return outcome;
}

function checkOut(key, midnight) {
  const body = { email: `${key}@example.com`, payment_token: 'tok_ok' };
  const r = http.post(`${shop}/v1/checkout`, JSON.stringify(body), named('checkout', { 'Idempotency-Key': key, ...from(key) }));
  const told = { key, status: r.status, sku, quantity: 1 };
  if (tellsOfOrder(r)) {
    told.order = field(r, 'id');
    told.total_minor = field(r, 'total.amount_minor');
    told.order_status = field(r, 'status');
  } else if (r.status !== 0) {
    told.code = field(r, 'code') || `status-${r.status}`; // what is not the shop's own has none
    told.held = holdsUnits(r);
  } else {
    (kills && Date.now() >= midnight + late * 1000 ? killed : cut).add(1);
  }
  console.log(JSON.stringify(told));
  return r;
}

// tellsOfOrder is true of an answer with an order: made, or made before, or made and not yet paid for (202).
function tellsOfOrder(r) {
  return r.status === 200 || r.status === 201 || r.status === 202;
}

// holdsUnits is true of a refusal after which units may come back: payments under way hold them.
function holdsUnits(r) {
  return r.status === 409 && field(r, 'code') === 'out-of-stock' && Boolean(r.headers['Retry-After']);
}

// field is part of an answer, if there is such a thing in it.
function field(r, path) {
  try {
    return r.json(path);
  } catch {
    return undefined;
  }
}

// persist checks out until there is a definite answer.
function persist(key, midnight) {
  let waited = false; // for units that payments held
  for (let tries = 0; tries < 60 && Date.now() < midnight + (patience - 60) * 1000; tries++) {
    const r = checkOut(key, midnight);
    const order = field(r, 'id');
    if (tellsOfOrder(r) && order) {
      orders.add(1);
      return { definite: true, order, waited };
    }
    if (holdsUnits(r)) {
      waited = true;
      held.add(1);
    } else if (r.status === 409 && field(r, 'code') === 'out-of-stock') {
      soldOut.add(1);
      return { definite: true, waited };
    } else if (r.status === 503 || r.status === 429) {
      shed.add(1);
    } else if (r.status !== 0 && !(r.status === 409 && r.headers['Retry-After'])) { // that: the first try is still being worked on
      failed.add(1);
      return {};
    }
    sleep(Number(r.headers['Retry-After'] || 1) * (1 + Math.random()));
  }
  undecided.add(1);
  return {};
}

// operate deploys in the middle of the herd, and kills a worker in the middle of those who come late.
export function operate({ midnight }) {
  const token = setting('ADMIN_TOKEN', '');
  const command = (path, body) => http.post(`${admin}/api/v1/${path}`, JSON.stringify(body), {
    tags: { name: 'admin' }, timeout: '120s',
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
  });
  until(midnight);
  if (reloads) {
    check(command('reload', {}), { 'the deploy went well': (r) => r.status === 200 });
  }
  if (kills) {
    until(midnight + late * 1000 + 5);
    check(command('kill', { slot: 1 }), { 'a worker was killed': (r) => r.status === 200 });
  }
}

export function handleSummary({ metrics }) {
  const count = (name) => metrics[name]?.values.count || 0;
  const ms = (name, value) => Math.round(metrics[name]?.values[value] || 0);
  const broken = Object.entries(metrics).flatMap(([name, m]) =>
    Object.entries(m.thresholds || {}).filter(([, t]) => !t.ok).map(([limit]) => `${name}: ${limit}`));
  const result = {
    buyers, orders: count('sale_orders'), sold_out: count('sale_sold_out'), shed: count('sale_shed'), held: count('sale_held'), cut: count('sale_cut'),
    cut_by_kill: count('sale_cut_by_kill'),
    failed: count('sale_failed'), undecided: count('sale_undecided'), dropped: count('dropped_iterations'),
    orders_per_second: Math.round((1000 * count('sale_ordered')) / Math.max(1, ms('sale_ordered', 'max'))),
    p50_ms: ms('sale_decided', 'med'), p99_ms: ms('sale_decided', 'p(99)'), max_ms: ms('sale_decided', 'max'),
    late_p99_ms: ms('sale_decided_late', 'p(99)'), read_p99_ms: ms('http_req_duration{name:product}', 'p(99)'), broken,
  };
  const text = `
${buyers} buyers at midnight: ${result.orders} orders (${result.orders_per_second}/s), ${result.sold_out} sold out, ${result.failed} failed, ${result.undecided} never knew
answers that asked to come back: ${result.shed}, and ${result.held} since payments held the last units; connections cut: ${result.cut}, and ${result.cut_by_kill} since a worker was killed
from midnight to the definite answer: p50 ${result.p50_ms} ms, p99 ${result.p99_ms} ms, max ${result.max_ms} ms; of those who came late, p99 ${result.late_p99_ms} ms; visitors' p99 ${result.read_p99_ms} ms, ${result.dropped} of theirs not sent
${result.orders === 0 && result.sold_out > 0 ? `there was nothing left of ${sku}: SKU names another (TONQUAY-HUSH, say), and a new shop has all of them again\n` : ''}${broken.length ? `BEYOND THE LIMITS: ${broken.join('; ')}` : 'all within the limits'}
`;
  const none = result.orders + result.sold_out + result.failed + result.undecided === 0;
  const out = { stdout: none ? '\nno buyer came as far as an answer\n' : text };
  if (setting('OUT', '') !== '') {
    out[`${setting('OUT', '')}/summary.json`] = JSON.stringify(result, null, 2);
  }
  return out;
}
