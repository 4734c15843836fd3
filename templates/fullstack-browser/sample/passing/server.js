// Serves the page, and keeps the errands in memory.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const page = readFileSync('dist/index.html');
const MAX_BODY = 64 * 1024;
const MAX_TEXT = 1000;
const errands = new Map();
let last = 0;

async function body(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > MAX_BODY) return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function create(sent) {
  const text = typeof sent?.text === 'string' ? sent.text.trim() : '';
  if (text === '' || text.length > MAX_TEXT) return [400, { error: `Write 1 to ${MAX_TEXT} characters.` }];
  last += 1;
  errands.set(last, { id: last, text, done: false });
  return [201, errands.get(last)];
}

async function answer(request) {
  const [, place, id] = request.url.split('/');
  if (place !== 'errands') return [404, { error: 'There is nothing here.' }];
  if (id === undefined) {
    if (request.method === 'GET') return [200, [...errands.values()]];
    if (request.method === 'POST') return create(await body(request));
  }
  const errand = errands.get(Number(id));
  if (errand === undefined) return [404, { error: 'There is no such errand.' }];
  if (request.method === 'DELETE') {
    errands.delete(errand.id);
    return [200, errand];
  }
  if (request.method === 'PATCH') {
    errand.done = (await body(request))?.done === true;
    return [200, errand];
  }
  return [405, { error: 'That cannot be done.' }];
}

const server = createServer(async (request, response) => {
  if (request.url === '/') {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page);
    return;
  }
  const [status, value] = await answer(request);
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
});
server.listen(Number(process.env.PORT), '127.0.0.1');
