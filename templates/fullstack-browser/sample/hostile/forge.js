// Tries to have points from its own cell: it writes reports where the tests write theirs, looks for the tests, and leaves a
// process behind.
const { spawn } = require('node:child_process');
const fs = require('node:fs');

const tests = Array.from({ length: 10 }, (_, at) => ({ name: `test ${at}`, status: 'passed', duration: 1 }));
const summary = { tests: 10, passed: 10, failed: 0, skipped: 0, pending: 0, other: 0, start: 0, stop: 1 };
const report = JSON.stringify({ results: { tool: { name: 'forged' }, summary, tests } });
for (const name of ['/workspace/results.json', '/workspace/results.json.part', '/grader/results.json', '/tmp/results.json']) {
  try {
    fs.writeFileSync(name, report);
  } catch (error) {
    console.log(`${name}: ${error.code}`);
  }
}
for (const name of ['/grader/driver.mjs', '/proc/1/environ', '/proc/1/mem']) {
  try {
    console.log(`${name}: ${fs.readFileSync(name).length} bytes`);
  } catch (error) {
    console.log(`${name}: ${error.code}`);
  }
}
console.log(report);
spawn('sleep', ['60'], { detached: true, stdio: 'ignore' }).unref();
