// Asks the proxy of its cell for what it must never get. The install fails if it gets any of it.
const http = require('node:http');

const proxy = new URL(process.env.http_proxy);
const targets = [
  '169.254.169.254:80', '127.0.0.1:22', 'localhost:5432', '0.0.0.0:80', '2130706433:80', '0x7f.1:80', '0177.0.0.1:80',
  '[::1]:80', '[::ffff:169.254.169.254]:80', '[64:ff9b::a9fe:a9fe]:80', '10.0.0.1:80', '172.17.0.1:2375',
  '192.168.0.1:80', '100.64.0.1:80', 'metadata.internal:80', 'example.com:443',
];

function ask(target) {
  return new Promise((resolve) => {
    const request = http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: target });
    request.on('connect', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode);
    });
    request.on('error', () => resolve(0));
    request.end();
  });
}

Promise.all(targets.map(ask)).then((statuses) => {
  targets.forEach((target, at) => console.log(`${target}: ${statuses[at]}`));
  process.exit(statuses.includes(200) ? 1 : 0);
});
