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

const json = { headers: { 'Content-Type': 'application/json' } };

export function read() {
  const r = http.get(`${shop}/v1/products/aurora-55-oled-tv`);
  check(r, { 'product is there': (r) => r.status === 200 });
}

export function buy() {
  const kept = http.put(`${shop}/v1/cart/items/AURORA-55-OLED`, JSON.stringify({ quantity: 1 }), json);
  check(kept, { 'cart answers': (r) => r.status === 200 });
  sleep(Math.random() * 0.2);
  const cart = http.get(`${shop}/v1/cart`);
  check(cart, { 'cart is kept': (r) => r.status === 200 && r.json('items').length === 1 });
  sleep(Math.random() * 0.2);
}
