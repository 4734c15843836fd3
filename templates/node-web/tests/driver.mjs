// Looks at a built website over HTTP with Node's own test runner.
//
// Runs in its own cell; what is served is a project's and may be hostile. So every exchange is
// bounded in time and in bytes, the site in pages, and what it says reaches the results only short
// and escaped. What was passed counts, however the driver ends: see report.mjs.

import http from 'node:http';

import { run } from './report.mjs';

const SITE = new URL(process.env.SUBJECT_URL ?? 'http://127.0.0.1:8000');
const REQUEST_MS = 3_000; // one exchange, from connect to the last byte
const TOTAL_MS = 90_000; // all exchanges together
const MAX_BYTES = 2 * 1024 * 1024; // of one answer
const MAX_PAGES = 50;
const MAX_LINKS = 500; // of one page

const end = performance.now() + TOTAL_MS;

const tests = new Map();

/** The site breaks the assignment; the message says how. */
class Wrong extends Error {
  constructor(message) {
    super(message.slice(0, 400));
    this.stack = this.message; // a stack of the driver says nothing to a student
  }
}

function check(holds, message) {
  if (!holds) throw new Wrong(message);
}

/** Foreign text for a message: short, printable ASCII, one line. */
function shown(value, limit = 100) {
  const text = String(value)
    .slice(0, limit)
    .replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return JSON.stringify(text);
}

const answers = new Map();

/** One file of the site: { status, type, bytes }. Asked for once. */
function get(path) {
  if (!answers.has(path)) answers.set(path, fetchOnce(path));
  return answers.get(path);
}

function fetchOnce(path) {
  const left = Math.min(REQUEST_MS, end - performance.now());
  if (left <= 0) return Promise.reject(new Wrong(`not tried: the site used up all of ${TOTAL_MS / 1000} s`));
  return new Promise((resolve, reject) => {
    const request = http.get(new URL(path, SITE), { agent: false }, (response) => {
      const pieces = [];
      let length = 0;
      response.on('data', (piece) => {
        length += piece.length;
        if (length > MAX_BYTES) {
          request.destroy();
          reject(new Wrong(`${shown(path)}: longer than ${MAX_BYTES} bytes`));
        }
        pieces.push(piece);
      });
      response.on('end', () => {
        clearTimeout(timer);
        const type = response.headers['content-type'] ?? '';
        resolve({ status: response.statusCode, type, bytes: Buffer.concat(pieces) });
      });
      response.on('error', () => reject(new Wrong(`${shown(path)}: the answer broke off`)));
    });
    const timer = setTimeout(() => {
      request.destroy();
      reject(new Wrong(`${shown(path)}: no whole answer within ${REQUEST_MS / 1000} s`));
    }, left);
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(new Wrong(`${shown(path)}: ${shown(error.code ?? 'no answer')}`));
    });
  });
}

/** Tags of a page with their attributes; comments, scripts and styles are left out. No backtracking. */
function tags(html) {
  const text = html
    .replace(/<!--[\s\S]*?(-->|$)/g, '')
    .replace(/(<(script|style)\b[^>]*>)[\s\S]*?(<\/\2\s*>|$)/gi, '$1');
  const found = [];
  for (const [, name, rest] of text.matchAll(/<([a-z][a-z0-9]*)\b([^>]*)>/gi)) {
    const attributes = {};
    const pattern = /([a-z][a-z0-9-]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/gi;
    for (const [, key, double, single, bare] of rest.slice(0, 10_000).matchAll(pattern)) {
      attributes[key.toLowerCase()] ??= (double ?? single ?? bare ?? '').trim();
    }
    found.push({ name: name.toLowerCase(), attributes });
  }
  return found;
}

function texts(html, element) {
  const pattern = new RegExp(`<${element}\\b[^>]*>([^]*?)</${element}\\s*>`, 'gi');
  return [...html.matchAll(pattern)].map(([, text]) => text.replace(/<[^>]*>/g, '').trim());
}

/** Where a link of `page` leads within the site; undefined if elsewhere or nowhere in particular. */
function within(link, page) {
  let address;
  try {
    address = new URL(link, new URL(page, SITE));
  } catch {
    return undefined;
  }
  return address.origin === SITE.origin ? address.pathname : undefined;
}

async function page(path) {
  const { status, type, bytes } = await get(path);
  check(status === 200, `${shown(path)} answers ${status}`);
  check(type.startsWith('text/html'), `${shown(path)} is served as ${shown(type)}`);
  const html = bytes.toString('utf8');
  return { path, html, tags: tags(html), length: bytes.length };
}

function links(seen) {
  return seen.tags
    .filter(({ name, attributes }) => name === 'a' && attributes.href)
    .slice(0, MAX_LINKS)
    .map(({ attributes }) => within(attributes.href, seen.path))
    .filter((path) => path !== undefined);
}

const name = (path) => (path.endsWith('/') ? `${path}index.html` : path).replace(/^\//, '');

/** Every page that can be reached from the first. */
let walked;
function walk() {
  walked ??= (async () => {
    const pages = new Map();
    const waiting = ['/'];
    while (waiting.length > 0 && pages.size < MAX_PAGES) {
      const path = waiting.shift();
      if (pages.has(name(path))) continue;
      const answer = await get(path);
      if (answer.status !== 200 || !answer.type.startsWith('text/html')) continue;
      const seen = await page(path);
      pages.set(name(path), seen);
      waiting.push(...links(seen));
    }
    return [...pages.values()];
  })();
  return walked;
}

tests.set('the first page is HTML in a language', async () => {
  const { html, tags: all } = await page('/');
  check(/^\s*<!doctype html>/i.test(html), 'index.html does not begin with <!doctype html>');
  check(all.find((tag) => tag.name === 'html')?.attributes.lang, '<html> of index.html has no lang');
});

tests.set('the first page has a title and one heading', async () => {
  const { html } = await page('/');
  const [titles, headings] = [texts(html, 'title'), texts(html, 'h1')];
  check(titles.length === 1 && titles[0], `index.html has ${titles.length} titles, or an empty one`);
  check(headings.length === 1 && headings[0], `index.html has ${headings.length} <h1>, or an empty one`);
});

tests.set('the first page fits a small screen', async () => {
  const { tags: all } = await page('/');
  const viewport = all.some((tag) => tag.name === 'meta' && tag.attributes.name === 'viewport' && tag.attributes.content);
  check(viewport, 'index.html has no <meta name="viewport">');
});

tests.set('the first page links to three others', async () => {
  const others = new Set(links(await page('/')).map(name));
  others.delete('index.html');
  check(others.size >= 3, `index.html links to ${others.size} other pages of the site`);
});

tests.set('every page has a title of its own', async () => {
  const pages = await walk();
  check(pages.length >= 4, `only ${pages.length} pages can be reached`);
  const titles = new Map();
  for (const { path, html } of pages) {
    const [title] = texts(html, 'title');
    check(title, `${shown(path)} has no title`);
    check(!titles.has(title), `${shown(path)} and ${shown(titles.get(title))} have the same title`);
    titles.set(title, path);
    check(texts(html, 'h1').length === 1, `${shown(path)} has not one <h1>`);
  }
});

tests.set('every page is styled', async () => {
  for (const { path, tags: all } of await walk()) {
    const sheets = all.filter((tag) => tag.name === 'link' && tag.attributes.rel === 'stylesheet');
    const sheet = within(sheets[0]?.attributes.href ?? 'http://elsewhere.invalid', path);
    check(sheet, `${shown(path)} has no stylesheet of the site`);
    const { status, type, bytes } = await get(sheet);
    check(status === 200 && type.startsWith('text/css') && bytes.length > 0, `${shown(sheet)} is no stylesheet`);
  }
});

tests.set('every image says what it shows', async () => {
  let images = 0;
  for (const { path, tags: all } of await walk()) {
    for (const { attributes } of all.filter((tag) => tag.name === 'img')) {
      images += 1;
      check(attributes.alt, `an image of ${shown(path)} has no alt`);
    }
  }
  check(images > 0, 'there is no image');
});

tests.set('no link leads nowhere', async () => {
  for (const { path, tags: all } of await walk()) {
    for (const { attributes } of all.slice(0, MAX_LINKS)) {
      for (const link of [attributes.href, attributes.src].filter(Boolean)) {
        const target = within(link, path);
        if (target === undefined) continue;
        const { status } = await get(target);
        check(status === 200, `${shown(path)} leads to ${shown(link)}, which answers ${status}`);
      }
    }
  }
});

tests.set('nothing is loaded from another host', async () => {
  for (const { path, tags: all } of await walk()) {
    for (const { name: element, attributes } of all) {
      const loaded = element === 'link' ? attributes.href : attributes.src;
      check(!/^\s*(https?:|\/\/)/i.test(loaded ?? ''), `${shown(path)} loads ${shown(loaded)}`);
    }
  }
});

tests.set('the build says what it has built', async () => {
  const { status, bytes } = await get('/build.json');
  check(status === 200, `build.json answers ${status}`);
  let told;
  try {
    told = JSON.parse(bytes.toString('utf8')).pages;
  } catch {
    throw new Wrong('build.json is no JSON');
  }
  check(Array.isArray(told) && told.length <= MAX_PAGES, 'pages of build.json is no list, or too long');
  for (const { path, length } of await walk()) {
    const entry = told.find((one) => one?.path === name(path));
    check(entry, `build.json does not name ${shown(name(path))}`);
    check(entry.bytes === length, `build.json says ${shown(entry.bytes)} bytes of ${shown(name(path))}, it has ${length}`);
  }
});

// A page that this driver did not foresee fails its test only.
run(tests, (error) => (error instanceof Wrong ? error.message : `unexpected answer (${error?.name})`));
