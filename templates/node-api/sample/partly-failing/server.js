// Works, except that it takes any code, counts no visits and so never sorts its list: 3 points.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

const links = new Map();

function valid(url) {
  try {
    return typeof url === 'string' && url.length <= 2000 && /^https?:$/.test(new URL(url).protocol);
  } catch {
    return false;
  }
}

function create(body) {
  let sent;
  try {
    sent = JSON.parse(body);
  } catch {
    return [400, { error: 'not JSON' }];
  }
  if (!valid(sent?.url)) return [400, { error: 'bad url' }];
  const code = sent.code ?? randomBytes(4).toString('hex');
  if (links.has(code)) return [409, { error: 'taken' }];
  links.set(code, { code, url: sent.url, visits: 0 });
  return [201, links.get(code), { Location: encodeURI(`/links/${code}`) }];
}

function answer(method, path, body) {
  if (path === '/links' && method === 'POST') return create(body);
  if (path === '/links' && method === 'GET') return [200, [...links.values()]];
  const [, place, code] = path.split('/');
  const link = links.get(code);
  if (!link) return [404, { error: 'no such link' }];
  if (place === 'go') return [302, undefined, { Location: link.url }];
  if (method === 'DELETE') {
    links.delete(code);
    return [204];
  }
  return [200, link];
}

createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const [status, value, headers = {}] = answer(request.method, request.url, body);
  if (value !== undefined) headers['Content-Type'] = 'application/json';
  response.writeHead(status, headers);
  response.end(value && JSON.stringify(value));
}).listen(process.env.PORT, '127.0.0.1');
