// Customers on kept-alive connections while the workers behind them are replaced: nobody may notice (N2).
//
//   k6 run -e SHOP=http://localhost:3000 loadtest/reload.js          and meanwhile: doorbuster reload
//
// .ci/k6-reload does both.
import http from 'k6/http';
import { check, sleep } from 'k6';

const shop = __ENV.SHOP || 'http://localhost:3000';

export const options = {
  scenarios: {
    // Readers ask as fast as they can.
    readers: { executor: 'constant-vus', exec: 'read', vus: 16, duration: __ENV.DURATION || '20s' },
    // Buyers think for up to 200 ms between two requests, and none of their requests is repeated.
    buyers: { executor: 'constant-vus', exec: 'buy', vus: 32, duration: __ENV.DURATION || '20s' },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
  },
};

// customer is somebody new, with an address of the prefix for documentation, 2001:db8::/32 (RFC 3849): the shop limits what one
// may ask for, and has to trust this machine (TRUSTED_PROXIES), as "doorbuster dev" does.
const part = () => Math.floor(Math.random() * 65536).toString(16);
const customer = () => ({ headers: { 'Content-Type': 'application/json', 'X-Forwarded-For': `2001:db8:${part()}:${part()}::1` } });

const mostReported = 5; // failures, per customer
let reported = 0;

// expect is a check that says what the answer was if it fails: all the causes of a 503 look alike but for the body's code.
function expect(r, name, ok) {
  if (!check(r, { [name]: ok }) && reported++ < mostReported) {
    console.error(`${name}? ${r.request.method} ${r.url}: ${r.error || r.status}, worker ${r.headers['X-Worker']}: ${r.body}`);
  }
}

export function read() {
  expect(http.get(`${shop}/v1/products/aurora-55-oled-tv`), 'product is there', (r) => r.status === 200);
}

export function buy() {
  const me = customer();
  const kept = http.put(`${shop}/v1/cart/items/AURORA-55-OLED`, JSON.stringify({ quantity: 1 }), me);
  expect(kept, 'cart answers', (r) => r.status === 200);
  sleep(Math.random() * 0.2);
  const cart = http.get(`${shop}/v1/cart`, me);
  expect(cart, 'cart is kept', (r) => r.status === 200 && r.json('items').length === 1);
  sleep(Math.random() * 0.2);
}
