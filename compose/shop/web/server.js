// web: the shop's page and its API for browsers.
const http = require('node:http');

const CATALOG = process.env.CATALOG || 'http://catalog:8080';
const CART = process.env.CART || 'http://cart:8080';
const CHECKOUT = process.env.CHECKOUT || 'http://checkout:8080';
const TIMEOUT = 5000; // milliseconds

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
let stopping = false;

const log = (fields) => console.log(JSON.stringify({ time: new Date().toISOString(), service: 'web', ...fields }));

// One call to another service, in the caller's trace.
function call(trace, method, url, body) {
  return new Promise((resolve, reject) => {
    const headers = { ...trace, accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const request = http.request(url, { method, headers, agent, timeout: TIMEOUT }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode >= 400) {
          return reject(Object.assign(new Error(`${url}: ${response.statusCode} ${text}`), { status: 502 }));
        }
        try { resolve(JSON.parse(text)); } catch { reject(new Error(`${url}: not JSON`)); }
      });
    });
    request.on('timeout', () => request.destroy(new Error(`${url}: no answer in ${TIMEOUT} ms`)));
    request.on('error', reject);
    request.end(body);
  });
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[c]));

function page({ items, version }) {
  const rows = items.map((i) => `<li>${escape(i.name)}: ${(i.cents / 100).toFixed(2)}${'stock' in i ? `, ${i.stock} left` : ''}</li>`);
  return `<!doctype html><title>Canoe parts</title><h1>Canoe parts</h1><ul>\n${rows.join('\n')}\n</ul><p>catalog ${escape(version)}</p>\n`;
}

async function answer(request, trace) {
  const { pathname } = new URL(request.url, 'http://web');
  const [, area, what, user, item] = pathname.split('/').map(decodeURIComponent);
  const route = `${request.method} /${[area, what].filter(Boolean).join('/')}`;
  switch (route) {
    case 'GET /': return page(await call(trace, 'GET', `${CATALOG}/items`));
    case 'GET /healthz': return { ok: true };
    case 'GET /ready': { // every service behind the page answers
      await Promise.all([
        call(trace, 'GET', `${CATALOG}/items`),
        call(trace, 'GET', `${CART}/cart/ready`),
        call(trace, 'GET', `${CHECKOUT}/quote/1`),
      ]);
      return { ready: true };
    }
    case 'GET /api/items': return call(trace, 'GET', `${CATALOG}/items`);
    case 'GET /api/cart': return call(trace, 'GET', `${CART}/cart/${encodeURIComponent(user)}`);
    case 'POST /api/cart': return call(trace, 'POST', `${CART}/cart/${encodeURIComponent(user)}/${encodeURIComponent(item)}`, '');
    case 'POST /api/checkout': return call(trace, 'POST', `${CHECKOUT}/checkout/${encodeURIComponent(user)}`, '');
    default: throw Object.assign(new Error('no such page'), { status: 404 });
  }
}

const server = http.createServer(async (request, response) => {
  const begun = performance.now();
  const trace = {};
  for (const name of ['traceparent', 'tracestate']) {
    if (request.headers[name]) trace[name] = request.headers[name];
  }
  request.resume();
  let status = 200;
  let body;
  try {
    body = await answer(request, trace);
  } catch (error) {
    status = error.status || 503;
    body = { error: error.message };
  }
  const text = typeof body === 'string' ? body : JSON.stringify(body) + '\n';
  response.writeHead(status, {
    'content-type': typeof body === 'string' ? 'text/html; charset=utf-8' : 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(stopping ? { connection: 'close' } : {}),
  });
  response.end(text);
  log({ method: request.method, path: request.url, status, ms: Math.round(performance.now() - begun), ...trace });
});

server.keepAliveTimeout = 75_000;
server.listen(8080, () => log({ message: 'listening', port: 8080 }));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    log({ message: 'stopping' });
    stopping = true;
    // A second for callers to learn of it: requests under way are answered, then everything closes.
    setTimeout(() => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
      agent.destroy();
    }, 1000);
  });
}
