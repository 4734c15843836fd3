// Short links that count. Your work: the answers.
'use strict';
const http = require('node:http');

const server = http.createServer((request, response) => {
  response.writeHead(501, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ error: `${request.method} is not written yet` }));
});
server.listen(Number(process.env.PORT), '127.0.0.1');
