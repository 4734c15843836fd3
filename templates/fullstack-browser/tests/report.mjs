// The driver's report, as CTRF: all tests in one file, which is whole at every moment.
//
// It is written before the first test, with every test as failed, and again after each of them, beside the old one and
// then in its place. So a driver that is ended early leaves the points of the tests that had passed.

import { renameSync, writeFileSync } from 'node:fs';

const RESULTS = '/workspace/results.json';
const NOT_REACHED = 'not reached: the driver ended early';

export class Report {
  #begun = Date.now();
  #hidden;
  #tests;

  /** `hidden` is the test of which nothing is printed. */
  constructor(names, hidden) {
    this.#hidden = hidden;
    this.#tests = new Map(names.map((name) => [name, { name, status: 'failed', duration: 0, message: NOT_REACHED }]));
    this.#write();
  }

  /** How a test ended: with an empty message if it passed. */
  ended(name, message, duration) {
    const outcome = message === '' ? { status: 'passed' } : { status: 'failed', message };
    this.#tests.set(name, { name, duration: Math.round(duration), ...outcome });
    if (name !== this.#hidden) console.log(message === '' ? `ok      ${name}` : `FAILED  ${name}: ${message}`);
    this.#write();
  }

  #write() {
    const tests = [...this.#tests.values()];
    const passed = tests.filter(({ status }) => status === 'passed').length;
    const counts = { tests: tests.length, passed, failed: tests.length - passed, skipped: 0, pending: 0, other: 0 };
    const summary = { ...counts, start: this.#begun, stop: Date.now() };
    const results = { tool: { name: 'playwright-core' }, summary, tests };
    const report = { reportFormat: 'CTRF', specVersion: '0.0.0', results };
    writeFileSync(`${RESULTS}.part`, JSON.stringify(report));
    renameSync(`${RESULTS}.part`, RESULTS);
  }
}
