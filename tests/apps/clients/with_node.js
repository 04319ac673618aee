// Node's HTTP clients against serve.js: the agent of node:http, fetch (undici), node:http2.

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const http = require('node:http');
const http2 = require('node:http2');

const [ONE, TWO] = ['http://web:8080', 'http://web:8082'];
const LIMIT = 30_000; // milliseconds for one check
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
let failed = 0;

async function check(name, run) {
  const begun = performance.now();
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`over ${LIMIT} ms`)), LIMIT); });
  try {
    await Promise.race([run(), late]);
    console.log(`ok ${name} (${((performance.now() - begun) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
  clearTimeout(timer);
}

function call(agent, url, options = {}, body = undefined) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent, ...options }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk)).on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, trailers: response.trailers, body: Buffer.concat(chunks) }));
    });
    request.on('error', reject);
    if (options.trailers) { request.setHeader('trailer', 'x-sum'); request.write(body); request.addTrailers(options.trailers); request.end(); } else request.end(body);
  });
}

async function main() {
  await check('two_hundred_at_once_over_a_keep_alive_agent', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 50 });
    const names = new Set();
    for (let round = 0; round < 3; round++) {
      const bodies = Array.from({ length: 200 }, (_, number) => randomBytes(500 + number));
      const answers = await Promise.all(bodies.map((body) => call(agent, `${ONE}/echo`, { method: 'POST' }, body)));
      answers.forEach((answer, number) => {
        names.add(answer.headers['x-name']);
        assert.equal(JSON.parse(answer.body).sha256, sha256(bodies[number]));
      });
    }
    assert.equal(names.size, 2, 'both replicas answered');
    agent.destroy();
  });

  await check('trailers_both_ways', async () => {
    const answer = await call(undefined, `${ONE}/trailers`, { headers: { te: 'trailers' } });
    assert.equal(answer.trailers['x-sum'], sha256('body'));
    const told = await call(undefined, `${ONE}/echo`, { method: 'POST', trailers: { 'x-sum': 'of-the-request' } }, 'some');
    assert.equal(JSON.parse(told.body).trailers['x-sum'], 'of-the-request');
  });

  await check('continue_and_early_hints', async () => {
    const events = await new Promise((resolve, reject) => {
      const seen = [];
      const request = http.request(`${ONE}/echo`, { method: 'POST', headers: { expect: '100-continue', 'content-length': 9 } }, (response) => {
        response.resume().on('end', () => resolve([...seen, response.statusCode]));
      });
      request.on('continue', () => { seen.push('continue'); request.end('and there'); }).on('error', reject);
      request.flushHeaders();
    });
    assert.deepEqual(events, ['continue', 200]);
    const hint = await new Promise((resolve, reject) => {
      http.get(`${ONE}/hints`).on('information', (information) => resolve(information)).on('error', reject);
    });
    assert.equal(hint.statusCode, 103);
  });

  await check('fetch_streams_both_ways', async () => {
    const pieces = Array.from({ length: 60 }, () => randomBytes(40_000));
    const body = new ReadableStream({ start(into) { pieces.forEach((piece) => into.enqueue(piece)); into.close(); } });
    const told = await (await fetch(`${ONE}/echo`, { method: 'POST', body, duplex: 'half' })).json();
    assert.equal(told.sha256, sha256(Buffer.concat(pieces)));
    const hash = createHash('sha256');
    const answer = await fetch(`${ONE}/bytes/20000000?chunked`);
    for await (const part of answer.body) hash.update(part);
    assert.equal(hash.digest('hex'), answer.headers.get('x-sha256'));
    assert.equal(await (await fetch(`${ONE}/gzip`)).text(), 'squeezed'.repeat(1000));
  });

  await check('fetch_two_hundred_at_once', async () => {
    const one = async () => (await (await fetch(`${ONE}/bytes/3000`)).arrayBuffer()).byteLength;
    const sizes = await Promise.all(Array.from({ length: 200 }, one));
    assert.deepEqual(new Set(sizes), new Set([3000]));
  });

  await check('an_aborted_fetch_harms_no_other', async () => {
    const control = new AbortController();
    const answer = await fetch(`${ONE}/endless`, { signal: control.signal });
    const reader = answer.body.getReader();
    await reader.read();
    control.abort();
    // What becomes of a read is Node's: 18 now and then leaves one waiting for ever, without a mesh as well.
    reader.closed.catch(() => {});
    assert.equal((await fetch(`${ONE}/status/200`)).status, 200);
  });

  await check('http2_streams_trailers_and_resets', async () => {
    const client = http2.connect(TWO);
    client.on('error', () => {});
    const ask = (headers, body) => new Promise((resolve, reject) => {
      const stream = client.request(headers);
      const told = { chunks: [] };
      stream.on('response', (found) => { told.headers = found; });
      stream.on('trailers', (found) => { told.trailers = found; });
      stream.on('data', (chunk) => told.chunks.push(chunk));
      stream.on('end', () => resolve({ ...told, body: Buffer.concat(told.chunks) })).on('error', reject);
      stream.end(body);
    });
    const bodies = Array.from({ length: 200 }, (_, number) => randomBytes(1000 + number));
    const answers = await Promise.all(bodies.map((body) => ask({ ':method': 'POST', ':path': '/echo' }, body)));
    answers.forEach((answer, number) => assert.equal(JSON.parse(answer.body).sha256, sha256(bodies[number])));
    assert.equal(new Set(answers.map((answer) => answer.headers['x-name'])).size, 2, 'both replicas, over one connection');
    const { trailers } = await ask({ ':path': '/trailers', te: 'trailers' });
    assert.equal(trailers['x-sum'], sha256('body'));
    const endless = client.request({ ':path': '/endless' });
    await new Promise((resolve) => endless.once('data', resolve));
    endless.close(http2.constants.NGHTTP2_CANCEL);
    await new Promise((resolve) => endless.once('close', resolve));
    assert.equal((await ask({ ':path': '/status/200' })).headers[':status'], 200);
    await new Promise((resolve, reject) => client.ping((error) => (error ? reject(error) : resolve())));
    await new Promise((resolve) => client.close(resolve));
  });
}

main().then(() => process.exit(failed ? 1 : 0));
