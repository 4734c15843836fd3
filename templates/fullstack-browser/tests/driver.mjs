// Uses a list of errands as its visitors would, with a real browser.
//
// Runs in its own cell; the pages are a project's and may be hostile: see browser.mjs. What was passed counts, however the
// driver ends: see report.mjs.

import { randomBytes } from 'node:crypto';

import { Hung, Visit, Wrong, miss, quit, see, shown, step } from './browser.mjs';
import { Report } from './report.mjs';

const TOTAL_MS = 120_000; // all tests together
const TEST_MS = 15_000; // one of them
const MAX_HUNG = 2; // after so many pages that did not load or could not be closed, the site is taken for hung
const MAX_REFUSED = 2; // after so many errands that could not be added, no other test waits for one
// As template.toml has it: nothing of it is printed or pictured. It is the last, so that no later picture shows it either.
const HIDDEN = 'the text of an errand is shown as text';
const PHONE = { width: 360, height: 640 };

const tests = new Map();

/** A text that no other test uses. */
const fresh = (text) => `${text} ${randomBytes(4).toString('hex')}`;

const field = (page) => page.getByLabel('New errand', { exact: true });
const add = (page) => page.getByRole('button', { name: 'Add', exact: true });
const item = (page, text) => page.getByRole('listitem').filter({ hasText: text });
const box = (page, text) => page.getByRole('checkbox', { name: text, exact: true });
const remove = (page, text) => page.getByRole('button', { name: `Remove ${text}`, exact: true });

let refused = 0;

async function write(page, text) {
  await step(field(page).fill(text), 'no text can be written into a field with the label "New errand"');
}

/** Adds an errand by the button, and waits until it is in the list. */
async function added(page, text) {
  if (refused >= MAX_REFUSED) throw new Wrong(`not tried: an errand could not be added in ${MAX_REFUSED} tests`);
  refused += 1;
  await write(page, text);
  await step(add(page).click(), 'there is no button "Add" that can be pressed');
  await see(item(page, text), `item ${shown(text)} in the list`);
  refused = 0;
  return text;
}

/** Waits until the checkbox is, or is not, ticked. */
async function ticked(page, text, wanted) {
  const found = page.getByRole('checkbox', { name: text, exact: true, checked: wanted });
  await see(found, `${wanted ? 'ticked' : 'empty'} checkbox ${shown(text)}`);
}

/** The texts of the list, in the order in which they are shown, of which `known` are looked for. */
async function order(page, known) {
  const texts = await step(page.getByRole('listitem').allTextContents(), 'the list cannot be read');
  return texts.map((text) => known.find((one) => text.includes(one))).filter((text) => text !== undefined);
}

function same(seen, wanted, message) {
  if (JSON.stringify(seen) !== JSON.stringify(wanted)) {
    throw new Wrong(`${message}: expected ${shown(wanted.join(', '))}, got ${shown(seen.join(', '))}`);
  }
}

tests.set('the page has its heading, field and button', async (visit) => {
  const page = await visit.open();
  await see(page.getByRole('heading', { name: 'Errands', exact: true, level: 1 }), '<h1> "Errands"');
  await see(field(page), 'field with the label "New errand"');
  await see(add(page), 'button "Add"');
});

tests.set('the button adds an errand once', async (visit) => {
  const page = await visit.open();
  const text = await added(page, fresh('buy milk'));
  await see(box(page, text), `checkbox with the label ${shown(text)}`);
  await see(remove(page, text), `button ${shown(`Remove ${text}`)}`);
  same(await order(page, [text]), [text], 'the list');
  const left = await step(field(page).inputValue(), 'the field is gone');
  if (left !== '') throw new Wrong(`the field still contains ${shown(left)}`);
});

tests.set('the Enter key adds an errand', async (visit) => {
  const page = await visit.open();
  const text = fresh('post the letter');
  await write(page, text);
  await step(field(page).press('Enter'), 'the Enter key cannot be pressed');
  await see(item(page, text), `item ${shown(text)} in the list`);
});

tests.set('errands are there after a reload, the oldest first', async (visit) => {
  const page = await visit.open();
  const texts = [];
  for (const text of ['zinc', 'apples', 'mustard']) texts.push(await added(page, fresh(text)));
  await visit.reload(page);
  for (const text of texts) await see(item(page, text), `item ${shown(text)} after a reload`);
  same(await order(page, texts), texts, 'the list after a reload');
});

tests.set('another visitor sees the errand', async (visit) => {
  const text = await added(await visit.open(), fresh('feed the cat'));
  const other = await visit.open();
  await see(item(other, text), `item ${shown(text)} for another visitor`);
});

tests.set('a ticked errand stays ticked', async (visit) => {
  const page = await visit.open();
  const [done, open] = [await added(page, fresh('sweep')), await added(page, fresh('dust'))];
  await ticked(page, done, false);
  await step(box(page, done).click(), `the checkbox ${shown(done)} cannot be ticked`);
  await ticked(page, done, true);
  // The change may still be on its way to the server.
  await page.waitForLoadState('networkidle').catch(() => {});
  await visit.reload(page);
  await ticked(page, done, true);
  await ticked(page, open, false);
});

tests.set('a removed errand is gone, and no other', async (visit) => {
  const page = await visit.open();
  const [first, second, third] = ['one', 'two', 'three'].map(fresh);
  for (const text of [first, second, third]) await added(page, text);
  await step(remove(page, second).click(), `there is no button ${shown(`Remove ${second}`)} that can be pressed`);
  await miss(item(page, second), `the removed item ${shown(second)}`);
  await page.waitForLoadState('networkidle').catch(() => {});
  await visit.reload(page);
  await see(item(page, third), `item ${shown(third)} after a reload`);
  same(await order(page, [first, second, third]), [first, third], 'the list after a reload');
});

tests.set('white space alone adds nothing', async (visit) => {
  const page = await visit.open();
  const text = await added(page, fresh('wind the clock'));
  const before = await page.getByRole('listitem').count();
  await write(page, '   ');
  await step(add(page).click(), 'there is no button "Add" that can be pressed');
  await see(page.getByRole('alert').filter({ hasText: /\S/ }), 'element with the role alert and a text');
  await visit.reload(page);
  await see(item(page, text), `item ${shown(text)} after a reload`);
  const after = await page.getByRole('listitem').count();
  if (after !== before) throw new Wrong(`the list had ${before} items, and has ${after}`);
});

tests.set('everything is in view on a small screen', async (visit) => {
  const page = await visit.open(PHONE);
  const text = await added(page, fresh(`photograph ${'the long wall behind the house '.repeat(4)}${'m'.repeat(60)}`));
  for (const [name, part] of [
    ['the field', field(page)],
    ['the button "Add"', add(page)],
    ['a long errand', item(page, text)],
    ['the button that removes a long errand', remove(page, text)],
  ]) {
    // From the layout, where no script of the page can answer in its place.
    const bounds = await step(part.first().boundingBox(), `${name} is not there`);
    if (bounds === null) throw new Wrong(`${name} is not visible`);
    const { x, width } = bounds;
    if (x < 0 || x + width > PHONE.width + 0.5) {
      throw new Wrong(`${name} reaches from ${x.toFixed(0)} to ${(x + width).toFixed(0)} px on a screen of ${PHONE.width} px`);
    }
  }
});

tests.set(HIDDEN, async (visit) => {
  const page = await visit.open();
  const mark = fresh('x');
  const text = `<b id="b">${mark}</b> & <img src="/none" onerror="document.title='run'"> "quoted"`;
  await added(page, text);
  await visit.reload(page);
  await see(item(page, text), `item with the text ${shown(text, 40)} after a reload`);
  if ((await page.locator('#b, img').count()) > 0) throw new Wrong('the text of an errand became elements of the page');
});

/** Runs one test to an end within its time: the message of why it failed, or an empty one. */
async function outcome(body, visit, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Hung(`took longer than ${Math.round(ms / 1000)} s`)), ms);
  });
  const running = body(visit);
  running.catch(() => {}); // it may fail when nobody waits any more
  try {
    await Promise.race([running, late]);
    return undefined;
  } catch (error) {
    // A page that this driver did not foresee fails its test only.
    return error instanceof Wrong ? error : new Wrong(`unexpected: ${shown(String(error?.message).split('\n')[0])}`);
  } finally {
    clearTimeout(timer);
  }
}

// Promises of playwright's own can fail when a page goes away in the middle of a step: no page may end the driver by that.
process.on('unhandledRejection', (error) => console.log(`the browser: ${shown(String(error?.message).split('\n')[0])}`));

const end = performance.now() + TOTAL_MS;
const report = new Report([...tests.keys()], HIDDEN);
let hung = 0;
let number = 0;
for (const [name, body] of tests) {
  number += 1;
  const begun = performance.now();
  if (hung >= MAX_HUNG || begun >= end) {
    const why = hung >= MAX_HUNG ? `${MAX_HUNG} pages hung` : `the tests used up ${TOTAL_MS / 1000} s`;
    report.ended(name, `not tried: ${why}`, 0);
    continue;
  }
  const visit = new Visit();
  const error = await outcome(body, visit, Math.min(TEST_MS, end - begun));
  report.ended(name, error?.message ?? '', performance.now() - begun);
  const picture = `${String(number).padStart(2, '0')}-${name.replace(/[^a-z]+/gi, '-')}`;
  const isClosed = await visit.end(name === HIDDEN || error instanceof Hung ? undefined : picture);
  if (error instanceof Hung || !isClosed) hung += 1;
}
await quit();
// A browser that hangs must not keep the driver.
process.exit(0);
