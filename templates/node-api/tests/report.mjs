// The driver's report, as TAP: all tests in one file, which is whole at every moment.
//
// It is written before the first test, with every test as failed, and again after each of them, beside the
// old one and then in its place. So a driver that is ended early, by what it is answered, by its time or its
// memory, leaves the points of the tests that had passed. Node's own TAP has its plan in the last line.

import { renameSync, writeFileSync } from 'node:fs';
import test from 'node:test';

const RESULTS = '/workspace/results.tap';
const NOT_REACHED = 'not reached: the driver ended early';

function write(outcomes) {
  const lines = ['TAP version 13', `1..${outcomes.size}`];
  let number = 0;
  for (const [name, { passed, ms, message }] of outcomes) {
    number += 1;
    lines.push(`${passed ? 'ok' : 'not ok'} ${number} - ${name}`, '  ---');
    if (ms !== undefined) lines.push(`  duration_ms: ${ms.toFixed(3)}`);
    if (message) lines.push(`  error: ${JSON.stringify(message)}`);
    lines.push('  ...');
  }
  writeFileSync(`${RESULTS}.part`, `${lines.join('\n')}\n`);
  renameSync(`${RESULTS}.part`, RESULTS);
}

/**
 * Runs `tests` (names without `#` and `\`, and their bodies) one after another; `told` makes a short printable line of
 * what a body throws. Exits 0 when every test had its turn, whatever came of it.
 */
export function run(tests, told) {
  const outcomes = new Map([...tests.keys()].map((name) => [name, { passed: false, message: NOT_REACHED }]));
  write(outcomes);
  let ran = 0;
  for (const [name, body] of tests) {
    test(name, async () => {
      const begun = performance.now();
      let message = '';
      try {
        await body();
      } catch (error) {
        message = told(error);
      }
      outcomes.set(name, { passed: message === '', ms: performance.now() - begun, message });
      write(outcomes);
      ran += 1;
      if (message === '') return;
      const failed = new Error(message);
      failed.stack = message; // a stack of the driver says nothing to a student
      throw failed;
    });
  }
  process.on('exit', () => {
    if (ran === tests.size) process.exitCode = 0;
  });
}
