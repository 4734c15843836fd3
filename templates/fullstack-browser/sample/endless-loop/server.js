// Its page never ends to load, and the browser that shows it hangs.
const { createServer } = require('node:http');

createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/html' }).end('<h1>Errands</h1><script>for (;;);</script>');
}).listen(Number(process.env.PORT), '127.0.0.1');
