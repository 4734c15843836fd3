// Short links in memory, with nothing but the modules of Node.
'use strict';
const { randomBytes } = require('node:crypto');
const http = require('node:http');

const CODE = /^[A-Za-z0-9_-]{4,16}$/;
const MAX_BODY = 64 * 1024;
const links = new Map(); // by code, in the order in which they were made

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function checkedUrl(url) {
  if (typeof url !== 'string' || url.length > 2000) {
    throw new Refused(400, 'url must be a text of at most 2000 characters');
  }
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new Refused(400, 'url is not an address');
  }
  if (!['http:', 'https:'].includes(parsed.protocol)) {
    throw new Refused(400, 'url must begin with http: or https:');
  }
  return url;
}

function newCode() {
  let code;
  do code = randomBytes(6).toString('base64url');
  while (links.has(code));
  return code;
}

function create(body) {
  let sent;
  try {
    sent = JSON.parse(body);
  } catch {
    throw new Refused(400, 'the body is not JSON');
  }
  if (sent === null || typeof sent !== 'object' || Array.isArray(sent)) {
    throw new Refused(400, 'the body must be a JSON object');
  }
  const url = checkedUrl(sent.url);
  const code = 'code' in sent ? sent.code : newCode();
  if (typeof code !== 'string' || !CODE.test(code)) {
    throw new Refused(400, 'code must be 4 to 16 letters, digits, _ or -');
  }
  if (links.has(code)) throw new Refused(409, 'this code is taken');
  const link = { code, url, visits: 0 };
  links.set(code, link);
  return link;
}

function found(code) {
  const link = links.get(code);
  if (!link) throw new Refused(404, 'there is no such link');
  return link;
}

function answer(method, path, body) {
  const [, place, code, more] = path.split('/');
  if (more !== undefined) throw new Refused(404, 'there is nothing here');
  if (place === 'links' && code === undefined) {
    if (method === 'GET') return [200, [...links.values()].sort((a, b) => b.visits - a.visits)];
    if (method === 'POST') {
      const link = create(body);
      return [201, link, { Location: `/links/${link.code}` }];
    }
  }
  if (place === 'links' && method === 'GET') return [200, found(code)];
  if (place === 'links' && method === 'DELETE') {
    links.delete(found(code).code);
    return [204];
  }
  if (place === 'go' && method === 'GET') {
    const link = found(code);
    link.visits += 1;
    return [302, undefined, { Location: link.url }];
  }
  throw new Refused(404, 'there is nothing here');
}

const server = http.createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size <= MAX_BODY) chunks.push(chunk);
  });
  request.on('end', () => {
    let result;
    try {
      result = answer(request.method, request.url.split('?')[0], Buffer.concat(chunks).toString());
    } catch (error) {
      result = [error.status ?? 500, { error: error.message || 'failed' }];
    }
    const [status, value, headers = {}] = result;
    if (value !== undefined) headers['Content-Type'] = 'application/json';
    response.writeHead(status, headers);
    response.end(value === undefined ? undefined : JSON.stringify(value));
  });
});

server.listen(Number(process.env.PORT), '127.0.0.1');
