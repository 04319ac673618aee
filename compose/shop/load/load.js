// load: shoppers at a bounded rate; every ten seconds what they met.
const http = require('node:http');

const SHOP = process.env.SHOP || 'http://web:8080';
const RATE = Math.min(Number(process.env.RATE) || 10, 500); // requests per second
const AT_ONCE = 32; // requests under way; above that a tick is skipped

const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
let shopper = 0;
let step = 0;
let busy = 0;
let seen = { ok: 0, failed: 0, skipped: 0, slowest_ms: 0 };

function next() {
  const user = `shopper-${shopper}`;
  const steps = [
    ['GET', '/'],
    ['POST', `/api/cart/${user}/${1 + (shopper % 5)}`],
    ['POST', `/api/cart/${user}/${1 + ((shopper + 2) % 5)}`],
    ['GET', `/api/cart/${user}`],
    ['POST', `/api/checkout/${user}`],
  ];
  const chosen = steps[step];
  step = (step + 1) % steps.length;
  if (step === 0) shopper += 1;
  return chosen;
}

function tick() {
  if (busy >= AT_ONCE) {
    seen.skipped += 1;
    return;
  }
  const [method, path] = next();
  const begun = performance.now();
  busy += 1;
  let counted = false;
  const end = (ok) => {
    if (counted) return;
    counted = true;
    busy -= 1;
    seen[ok ? 'ok' : 'failed'] += 1;
    seen.slowest_ms = Math.max(seen.slowest_ms, Math.round(performance.now() - begun));
  };
  const request = http.request(SHOP + path, { method, agent, timeout: 10_000 }, (response) => {
    response.resume();
    response.on('end', () => end(response.statusCode < 400));
    response.on('error', () => end(false));
  });
  request.on('timeout', () => request.destroy(new Error('no answer')));
  request.on('error', () => end(false));
  request.end();
}

const ticking = setInterval(tick, 1000 / RATE);
const report = () => {
  console.log(JSON.stringify({ time: new Date().toISOString(), service: 'load', ...seen }));
  seen = { ok: 0, failed: 0, skipped: 0, slowest_ms: 0 };
};
setInterval(report, 10_000);

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    clearInterval(ticking);
    report();
    process.exit(0);
  });
}
