// Node's `ws` against serve.js.

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const WebSocket = require('ws');

const within = (promise, what) => Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: late`)), 20_000).unref())]);
const next = (socket, event) => within(new Promise((resolve, reject) => {
  socket.once(event, (...values) => resolve(values));
  socket.once('error', reject);
}), event);

async function main() {
  const socket = new WebSocket('ws://web:8080/ws', ['chat']);
  await next(socket, 'open');
  assert.equal(socket.protocol, 'chat');
  for (const [data, binary] of [[Buffer.from('hällo'), false], [randomBytes(1_000_000), true]]) {
    socket.send(data, { binary });
    const [found, wasBinary] = await next(socket, 'message');
    assert.ok(found.equals(data) && wasBinary === binary, 'the same message comes back');
  }
  socket.ping('here');
  assert.equal(String(await next(socket, 'pong')), 'here');
  socket.send('close 4003 done');
  const [code, reason] = await next(socket, 'close');
  assert.deepEqual([code, String(reason)], [4003, 'done']);
  console.log('ok ws_text_binary_ping_and_close_code');
}

main().then(() => process.exit(0), (error) => { console.log(`FAILED ${error.stack}`); process.exit(1); });
