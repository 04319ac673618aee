// serve: what the HTTP clients of the tests call. HTTP/1 and WebSocket (/ws) on 8080, HTTP/2 in clear on 8082,
// both over TLS with a certificate of its own making on 8443.
//
//   *    /echo          what arrived, as JSON: method, target, version, headers, bytes and sha256 of the body, trailers
//   GET  /bytes/N       N bytes (byte i is i mod 251) with their sha256 in x-sha256; Range; ?chunked: without a length
//   GET  /gzip          "squeezed" 1,000 times, gzipped          GET /events   five events, 150 ms apart
//   GET  /trailers      a trailer x-sum after the body           GET /hints    103, then 200
//   GET  /status/N      that status                              GET /slow/MS  answers after that time
//   GET  /endless       a byte every 20 ms until the client goes GET /gone     how many such clients went
//   GET  /flaky         503 first, then 200, for each value of ?id GET /heard  how many copies (x-outrigger-mirror) came
//   GET  /work          200, or 500 where BAD is set; counted    GET /counted  how often
//   POST /count/N       appends N to STORE                       POST /refuse  413 before the body, no 100
//
// Every answer says in x-name who gave it: NAME, or the host's name.

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const os = require('node:os');
const zlib = require('node:zlib');
const { WebSocketServer } = require('ws');

const NAME = process.env.NAME || os.hostname();
const STORE = process.env.STORE || '/tmp/store';
const MARGIN = 2000; // milliseconds in which a stopping server serves on

const counts = { gone: 0, heard: 0, counted: 0 };
const once = new Set(); // ids that /flaky has refused

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const pattern = Buffer.from(Array.from({ length: 251 }, (_, i) => i));
const made = new Map();
function bytes(length) {
  if (!made.has(length)) {
    const body = Buffer.alloc(length, pattern);
    made.set(length, { body, sum: sha256(body) });
  }
  return made.get(length);
}

function send(response, status, body, headers = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

function echo(request, response) {
  const hash = createHash('sha256');
  let length = 0;
  request.on('data', (chunk) => { hash.update(chunk); length += chunk.length; });
  request.on('end', () => send(response, 200, {
    method: request.method, target: request.url, version: request.httpVersion, headers: request.headers,
    bytes: length, sha256: hash.digest('hex'), trailers: request.trailers,
  }, { 'content-type': 'application/json' }));
}

function download(request, response, length, chunked) {
  const { body, sum } = bytes(length);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range || '');
  const [from, to] = range ? [Number(range[1]), range[2] ? Number(range[2]) + 1 : length] : [0, length];
  const headers = { 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes', 'x-sha256': sum };
  if (range) headers['content-range'] = `bytes ${from}-${to - 1}/${length}`;
  if (!chunked) headers['content-length'] = to - from;
  response.writeHead(range ? 206 : 200, headers);
  response.end(request.method === 'HEAD' ? undefined : body.subarray(from, to));
}

function events(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  let number = 0;
  const next = () => {
    response.write(`id: ${++number}\ndata: event ${number}\n\n`);
    if (number === 5) { clearInterval(timer); response.end(); }
  };
  const timer = setInterval(next, 150);
  next();
}

function endless(response) {
  response.writeHead(200, { 'content-type': 'text/plain' });
  const timer = setInterval(() => response.write('.'), 20);
  response.on('close', () => { clearInterval(timer); counts.gone++; });
}

function serve(request, response) {
  response.setHeader('x-name', NAME);
  if (stopping && request.httpVersionMajor === 1) response.setHeader('connection', 'close');
  if (request.headers['x-outrigger-mirror']) counts.heard++;
  const url = new URL(request.url, 'http://test');
  const [, what, number] = url.pathname.split('/');
  switch (what) {
    case 'echo': return echo(request, response);
    case 'bytes': return download(request, response, Number(number), url.searchParams.has('chunked'));
    case 'gzip': return zlib.gzip('squeezed'.repeat(1000), (_, body) => {
      response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip', vary: 'accept-encoding', 'content-length': body.length });
      response.end(body);
    });
    case 'events': return events(response);
    case 'trailers': {
      response.writeHead(200, { 'content-type': 'text/plain', trailer: 'x-sum' });
      response.write('body');
      response.addTrailers({ 'x-sum': sha256('body') });
      return response.end();
    }
    case 'hints': {
      response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
      return send(response, 200, 'hinted');
    }
    case 'status': return send(response, Number(number), `status ${number}`);
    case 'slow': return setTimeout(() => send(response, 200, 'late'), Number(number));
    case 'endless': return endless(response);
    case 'gone': case 'heard': case 'counted': return send(response, 200, String(counts[what]));
    case 'flaky': {
      const id = url.searchParams.get('id');
      const good = once.has(id);
      once.add(id);
      return send(response, good ? 200 : 503, good ? 'better' : 'not yet');
    }
    case 'work': {
      counts.counted++;
      return process.env.BAD ? send(response, 500, 'broken') : send(response, 200, 'done');
    }
    case 'count': return request.resume().on('end', () => {
      fs.appendFileSync(STORE, `${number}\n`);
      send(response, 200, number);
    });
    case 'refuse': return send(response, 413, 'too much', { connection: 'close' });
    default: return send(response, 200, `${request.method} ${request.url} by ${NAME}`);
  }
}

// Echoes what it gets; a text may ask for more: "name", "close CODE REASON", "ping" (pings, and answers "ponged").
function talk(socket) {
  socket.on('pong', (data) => socket.send(`ponged ${data}`));
  socket.on('message', (data, binary) => {
    const [word, code, ...reason] = binary ? [] : data.toString('utf8', 0, 100).split(' ');
    if (word === 'name') return socket.send(NAME);
    if (word === 'close') return socket.close(Number(code), reason.join(' '));
    if (word === 'ping') return socket.ping('mark');
    return socket.send(data, { binary });
  });
}

let stopping = false;
const one = http.createServer({ requestTimeout: 0 }, serve);
one.on('checkContinue', (request, response) => {
  if (!request.url.startsWith('/refuse')) response.writeContinue();
  serve(request, response);
});
one.keepAliveTimeout = 60_000;
const sockets = new WebSocketServer({ server: one, path: '/ws', perMessageDeflate: true, handleProtocols: (offered) => offered.has('chat') && 'chat' });
sockets.on('connection', talk);
const two = http2.createServer(serve);
const [key, cert] = ['/tmp/key.pem', '/tmp/cert.pem'];
const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
execFileSync('openssl', ['req', '-x509', ...curve, '-nodes', '-keyout', key, '-out', cert, '-subj', '/CN=web', '-days', '2'], { stdio: 'ignore' });
const secure = http2.createSecureServer({ allowHTTP1: true, key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, serve);
process.on('SIGTERM', () => {
  stopping = true;
  setTimeout(() => process.exit(0), MARGIN);
});
for (const [server, port] of [[one, 8080], [two, 8082], [secure, 8443]]) {
  server.listen(port, () => console.log(JSON.stringify({ name: NAME, listening: port })));
}
