// Tries a signpost service over HTTP with Node's own test runner.
//
// Runs in its own cell; the service answers from the other side of a shared loopback and may be
// hostile. So every exchange is bounded in time and in bytes, and what the service says reaches
// the results only short and escaped. What was passed counts, however the driver ends: see report.mjs.

import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { isDeepStrictEqual } from 'node:util';

import { run } from './report.mjs';

const SUBJECT = new URL(process.env.SUBJECT_URL ?? 'http://127.0.0.1:8000');
const REQUEST_MS = 2_000; // one exchange, from connect to the last byte; the assignment promises it
const TOTAL_MS = 60_000; // all exchanges together
const MAX_BYTES = 256 * 1024; // of one body; Node itself bounds the head to 16 KiB
const MAX_TIMEOUTS = 3; // after these many the service is taken for hung

const end = performance.now() + TOTAL_MS;
let timeouts = 0;

/** The service broke the assignment; the message says how. */
class Wrong extends Error {
  constructor(message) {
    super(message.slice(0, 400));
    this.stack = this.message; // a stack of the driver says nothing to a student
  }
}

/** Foreign values for a message: short, printable ASCII, one line. */
function shown(value, limit = 120) {
  let text;
  try {
    text = JSON.stringify(typeof value === 'string' ? value.slice(0, limit * 4) : value) ?? 'nothing';
  } catch {
    text = 'a value nested too deep';
  }
  text = text
    .slice(0, limit * 4)
    .replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return text.length <= limit ? text : `${text.slice(0, limit)}...`;
}

/** One exchange on a fresh connection: { status, headers, body }. */
async function request(method, path, body) {
  const what = `${method} ${path}`;
  if (timeouts >= MAX_TIMEOUTS) {
    throw new Wrong(`not tried: the service let ${MAX_TIMEOUTS} requests time out`);
  }
  const left = Math.min(REQUEST_MS, end - performance.now());
  if (left <= 0) throw new Wrong(`not tried: the service used up all of ${TOTAL_MS / 1000} s`);

  let timer;
  let sent;
  try {
    return await new Promise((resolve, reject) => {
      timer = setTimeout(() => {
        timeouts += 1;
        reject(new Wrong(`${what}: no whole answer within ${REQUEST_MS / 1000} s`));
      }, left);
      const headers = { connection: 'close' };
      if (body !== undefined) {
        headers['content-type'] = 'application/json';
        headers['content-length'] = Buffer.byteLength(body);
      }
      sent = http.request(
        { host: SUBJECT.hostname, port: SUBJECT.port, method, path, headers, agent: false },
        (response) => {
          const chunks = [];
          let size = 0;
          response.on('data', (chunk) => {
            size += chunk.length;
            if (size > MAX_BYTES) reject(new Wrong(`${what}: the answer is longer than ${MAX_BYTES} bytes`));
            else chunks.push(chunk);
          });
          response.on('end', () => {
            if (!response.complete) return reject(new Wrong(`${what}: the answer breaks off`));
            const text = Buffer.concat(chunks).toString('utf8');
            resolve({ status: response.statusCode, headers: response.headers, body: text });
          });
          response.on('error', () => reject(new Wrong(`${what}: the answer breaks off`)));
        },
      );
      sent.on('upgrade', () => reject(new Wrong(`${what}: an upgrade that nobody asked for`)));
      sent.on('close', () => reject(new Wrong(`${what}: closed without an answer`)));
      sent.on('error', (error) => reject(new Wrong(`${what}: no answer (${error.code ?? 'not HTTP'})`)));
      sent.end(body);
    });
  } finally {
    clearTimeout(timer);
    sent?.on('error', () => {}); // what destroy() may still report is no news
    sent?.destroy();
  }
}

/** One exchange that must give this status: { value, headers }. `body` is text or JSON to be. */
async function expect(method, path, status, body) {
  const raw = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const what = `${method} ${path}${raw === undefined ? '' : ` with ${shown(raw, 100)}`}`;
  const answer = await request(method, path, raw);
  if (answer.status !== status) {
    throw new Wrong(`${what}: expected status ${status}, got ${answer.status}`);
  }
  if (status === 302) return { headers: answer.headers };
  if (status === 204) {
    if (answer.body !== '') throw new Wrong(`${what}: a 204 has no body, got ${shown(answer.body)}`);
    return { headers: answer.headers };
  }
  const type = (answer.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
  if (type !== 'application/json') {
    throw new Wrong(`${what}: expected Content-Type application/json, got ${shown(type)}`);
  }
  let value;
  try {
    value = JSON.parse(answer.body);
  } catch {
    throw new Wrong(`${what}: the body is not JSON: ${shown(answer.body)}`);
  }
  if (status >= 400 && (typeof value?.error !== 'string' || value.error === '')) {
    throw new Wrong(`${what}: expected {"error": "..."} in a ${status}, got ${shown(value)}`);
  }
  return { value, headers: answer.headers };
}

function same(what, got, wanted) {
  if (!isDeepStrictEqual(got, wanted)) {
    throw new Wrong(`${what}: expected ${shown(wanted, 160)}, got ${shown(got, 160)}`);
  }
}

/** A code, and an address, that no other test uses. */
const freshCode = () => `T${randomBytes(5).toString('hex')}`;
const freshUrl = () => `https://example.org/${randomBytes(5).toString('hex')}?q=a%20b&r=%C5%82#top`;

/** Creates a link and checks the whole answer; returns it. */
async function create(body) {
  const { value, headers } = await expect('POST', '/links', 201, body);
  const code = body.code ?? value?.code;
  if (typeof code !== 'string' || !/^[A-Za-z0-9_-]{4,16}$/.test(code)) {
    throw new Wrong(`POST /links: expected a link with a valid code, got ${shown(value)}`);
  }
  same('POST /links', value, { code, url: body.url, visits: 0 });
  same('POST /links, header Location', headers.location, `/links/${code}`);
  return value;
}

async function read(code) {
  return (await expect('GET', `/links/${code}`, 200)).value;
}

const tests = {
  async 'a link without a code gets one of its own'() {
    const url = freshUrl();
    const [first, second] = [await create({ url }), await create({ url })];
    if (first.code === second.code) throw new Wrong(`two links got the code ${shown(first.code)}`);
  },

  async 'a link keeps the code that was asked for'() {
    const code = `${freshCode()}_-z`;
    await create({ url: freshUrl(), code });
    await create({ url: 'http://example.org', code: code.toLowerCase() }); // another code
  },

  async 'a link can be read by its code'() {
    const link = await create({ url: freshUrl() });
    same(`GET /links/${link.code}`, await read(link.code), link);
    await expect('GET', `/links/${freshCode()}`, 404);
  },

  async 'go sends the visitor on'() {
    const link = await create({ url: freshUrl() });
    const { headers } = await expect('GET', `/go/${link.code}`, 302);
    same(`GET /go/${link.code}, header Location`, headers.location, link.url);
    await expect('GET', `/go/${freshCode()}`, 404);
  },

  async 'visits are counted'() {
    const link = await create({ url: freshUrl() });
    const other = await create({ url: link.url });
    for (let visit = 0; visit < 3; visit += 1) await expect('GET', `/go/${link.code}`, 302);
    await read(link.code); // does not count
    same(`GET /links/${link.code} after 3 visits`, await read(link.code), { ...link, visits: 3 });
    same(`GET /links/${other.code} after none`, await read(other.code), other);
  },

  async 'a taken code is 409 and changes nothing'() {
    const link = await create({ url: freshUrl(), code: freshCode() });
    await expect('POST', '/links', 409, { url: freshUrl(), code: link.code });
    same(`GET /links/${link.code}`, await read(link.code), link);
  },

  async 'a bad address is 400'() {
    const bad = ['', 'example.org', 'ftp://example.org/', 'javascript:alert(1)', 7, null];
    for (const url of bad) await expect('POST', '/links', 400, { url });
    await expect('POST', '/links', 400, { url: `https://example.org/${'x'.repeat(2000)}` });
    for (const body of ['{not json', '[]', '"https://example.org/"', '{}']) {
      await expect('POST', '/links', 400, body);
    }
  },

  async 'a bad code is 400 and is not kept'() {
    const url = freshUrl();
    for (const code of ['', 'abc', 'x'.repeat(17), 'ab cd', 'ab/cd', 'sch\u00f6n', 'abcd\n', 1234]) {
      await expect('POST', '/links', 400, { url, code });
    }
    const { value } = await expect('GET', '/links', 200);
    if (!Array.isArray(value)) throw new Wrong(`GET /links: expected an array, got ${shown(value)}`);
    if (value.some((link) => link?.url === url)) throw new Wrong('GET /links: a refused link was kept');
  },

  async 'a deleted link is gone and its code is free'() {
    const link = await create({ url: freshUrl(), code: freshCode() });
    await expect('GET', `/go/${link.code}`, 302);
    await expect('DELETE', `/links/${link.code}`, 204);
    await expect('GET', `/links/${link.code}`, 404);
    await expect('GET', `/go/${link.code}`, 404);
    await expect('DELETE', `/links/${link.code}`, 404);
    await create({ url: freshUrl(), code: link.code });
  },

  async 'the list has the most visited first'() {
    const links = [];
    for (const visits of [1, 0, 2, 1]) {
      const link = await create({ url: freshUrl(), code: freshCode() });
      for (let visit = 0; visit < visits; visit += 1) await expect('GET', `/go/${link.code}`, 302);
      links.push({ ...link, visits });
    }
    const { value } = await expect('GET', '/links', 200);
    if (!Array.isArray(value)) throw new Wrong(`GET /links: expected an array, got ${shown(value)}`);
    const mine = new Set(links.map((link) => link.code));
    same(
      'GET /links, its links with 2, 1, 1 and 0 visits',
      value.filter((link) => mine.has(link?.code)),
      [links[2], links[0], links[3], links[1]],
    );
  },
};

// An answer that this driver did not foresee fails its test only.
run(new Map(Object.entries(tests)), (error) =>
  error instanceof Wrong ? error.message : `unexpected answer (${error?.name})`,
);
