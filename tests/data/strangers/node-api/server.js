'use strict';

const http = require('node:http');
const crypto = require('node:crypto');

// In the order in which they were made.
const links = new Map();

const CODE = /^[A-Za-z0-9_-]{4,16}$/;

function isAddress(url) {
  if (typeof url !== 'string' || [...url].length > 2000) return false;
  try {
    return ['http:', 'https:'].includes(new URL(url).protocol);
  } catch {
    return false;
  }
}

function freeCode() {
  for (;;) {
    const code = crypto.randomBytes(6).toString('base64url');
    if (!links.has(code)) return code;
  }
}

function answer(response, status, body, headers = {}) {
  if (body === undefined) {
    response.writeHead(status, headers);
    return response.end();
  }
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  });
  return response.end(text);
}

function create(response, text) {
  let asked;
  try {
    asked = JSON.parse(text);
  } catch {
    return answer(response, 400, { error: 'the body is not JSON' });
  }
  if (asked === null || typeof asked !== 'object' || Array.isArray(asked)) {
    return answer(response, 400, { error: 'the body must be a JSON object' });
  }
  if (!isAddress(asked.url)) return answer(response, 400, { error: 'url must be an http or https address' });
  const chosen = Object.hasOwn(asked, 'code');
  if (chosen && (typeof asked.code !== 'string' || !CODE.test(asked.code))) {
    return answer(response, 400, { error: 'code must be 4 to 16 letters, digits, _ or -' });
  }
  if (chosen && links.has(asked.code)) return answer(response, 409, { error: 'this code is taken' });
  const link = { code: chosen ? asked.code : freeCode(), url: asked.url, visits: 0 };
  links.set(link.code, link);
  return answer(response, 201, link, { Location: `/links/${link.code}` });
}

function route(request, response, text) {
  const { method } = request;
  const path = request.url.split('?')[0];
  if (path === '/links' && method === 'POST') return create(response, text);
  // Array.prototype.sort keeps the order of equal elements.
  if (path === '/links' && method === 'GET') {
    return answer(response, 200, [...links.values()].sort((a, b) => b.visits - a.visits));
  }
  const [, place, code, ...more] = path.split('/');
  const link = more.length === 0 ? links.get(code) : undefined;
  if (!link) return answer(response, 404, { error: 'there is no such link' });
  if (place === 'links' && method === 'GET') return answer(response, 200, link);
  if (place === 'links' && method === 'DELETE') {
    links.delete(code);
    return answer(response, 204);
  }
  if (place === 'go' && method === 'GET') {
    link.visits += 1;
    return answer(response, 302, undefined, { Location: link.url });
  }
  return answer(response, 404, { error: 'there is nothing here' });
}

http
  .createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => route(request, response, Buffer.concat(pieces).toString('utf8')));
  })
  .listen(Number(process.env.PORT), '127.0.0.1');
