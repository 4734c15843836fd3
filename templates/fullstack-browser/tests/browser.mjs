// One Chromium for all tests, and a new visitor for each: without cookies, storage or cache of the one before.
//
// The pages are a project's and may be hostile. Every step has a time limit, a browser that does not close is replaced, and
// what a page says reaches a message only short and escaped. Chromium's own sandbox is off: it needs namespaces that a cell
// denies. The cell is the sandbox, and it has no network.

import { mkdirSync, writeFileSync } from 'node:fs';

import playwright from '/opt/playwright/node_modules/playwright-core/index.js';

const SITE = process.env.SUBJECT_URL ?? 'http://127.0.0.1:8000';
const OUT = '/workspace/out'; // a picture of each page as its test left it
const STEP_MS = 2_000; // until a change must be visible; the assignment promises it
const LOAD_MS = 4_000; // until the page is loaded
const LAUNCH_MS = 20_000;
const PICTURE_MS = 2_000;
const CLOSE_MS = 3_000;
const MAX_PICTURE_BYTES = 400 * 1024;

const ARGUMENTS = [
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--js-flags=--max-old-space-size=256',
];

/** The page breaks the assignment; the message says how. */
export class Wrong extends Error {}

/** The page did not load in time. */
export class Hung extends Wrong {}

/** Foreign text for a message: short, printable ASCII, one line. */
export function shown(value, limit = 120) {
  const text = String(value)
    .slice(0, limit)
    .replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return JSON.stringify(text);
}

/** What `promise` comes to, or undefined if it fails or takes too long. */
async function within(ms, promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  const settled = promise.catch(() => {});
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}

let browser;

async function launched() {
  browser ??= await playwright.chromium.launch({
    executablePath: '/usr/bin/chromium-headless-shell',
    chromiumSandbox: false,
    args: ARGUMENTS,
    timeout: LAUNCH_MS,
    env: { ...process.env, HOME: '/tmp' },
  });
  return browser;
}

/** Ends the browser. The next visit starts another one. */
export async function quit() {
  const last = browser;
  browser = undefined;
  if (last !== undefined) await within(CLOSE_MS, last.close());
}

/** What one test does with the site. */
export class Visit {
  #contexts = [];
  #last;

  /** A page of a new visitor, on the first page of the site. */
  async open(viewport = { width: 1024, height: 640 }) {
    const context = await (await launched()).newContext({
      viewport,
      acceptDownloads: false,
      serviceWorkers: 'block',
      reducedMotion: 'reduce',
    });
    this.#contexts.push(context);
    context.setDefaultTimeout(STEP_MS);
    const page = await context.newPage();
    // Windows that a page opens are closed, before each of them opens more.
    context.on('page', (window) => within(CLOSE_MS, window.close()));
    this.#last = page;
    await this.load(page, () => page.goto(SITE, { timeout: LOAD_MS, waitUntil: 'load' }));
    return page;
  }

  async reload(page) {
    await this.load(page, () => page.reload({ timeout: LOAD_MS, waitUntil: 'load' }));
  }

  async load(page, step) {
    let response;
    try {
      response = await step();
    } catch (error) {
      if (error?.name === 'TimeoutError') throw new Hung(`the page did not load within ${LOAD_MS / 1000} s`);
      throw new Wrong(`the page did not load: ${shown(String(error?.message).split('\n')[0])}`);
    }
    const status = response?.status();
    if (status !== 200) throw new Wrong(`GET / answered ${status ?? 'nothing'}, expected is 200`);
  }

  /** Takes the picture of the page, if it has a name, and closes what was opened. Returns whether it could be closed. */
  async end(name) {
    const page = this.#last;
    if (page !== undefined && name !== undefined) {
      const picture = await within(PICTURE_MS, page.screenshot({ timeout: PICTURE_MS, animations: 'disabled' }));
      if (picture !== undefined && picture.length <= MAX_PICTURE_BYTES) {
        mkdirSync(OUT, { recursive: true });
        writeFileSync(`${OUT}/${name}.png`, picture);
      }
    }
    const closed = Promise.allSettled(this.#contexts.map((context) => context.close()));
    const isClosed = (await within(CLOSE_MS, closed)) !== undefined && browser?.isConnected() === true;
    if (!isClosed) await quit();
    return isClosed;
  }
}

/** Waits until the element is visible. */
export async function see(locator, what) {
  await step(locator.first().waitFor({ state: 'visible' }), `there is no ${what}`);
}

/** Waits until no such element is visible. */
export async function miss(locator, what) {
  await step(locator.first().waitFor({ state: 'hidden' }), `there still is ${what}`);
}

/** A step of a visitor, and what is wrong with the page if it fails. */
export async function step(promise, message) {
  try {
    return await promise;
  } catch (error) {
    throw new Wrong(error?.name === 'TimeoutError' ? `${message} (after ${STEP_MS / 1000} s)` : message);
  }
}
