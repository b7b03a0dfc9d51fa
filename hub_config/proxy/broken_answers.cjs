// Ends an answer whose server breaks off in its middle, so that its client learns of that.
//
// http-proxy-3 1.x pipes a server's answer to the client. If the server's connection breaks, the
// pipe waits forever, and so does the client: a page whose server was killed, a program whose run
// was. Loaded into configurable-http-proxy with `node --require`; can go when a client whose
// server is killed in mid-answer sees its connection end without this
// (tests/integration/test_api_service.py).
'use strict';

const { realpathSync } = require('node:fs');

const proxy = require(require.resolve('http-proxy-3', { paths: [realpathSync(process.argv[1])] }));
const { createProxyServer } = proxy;

proxy.createProxyServer = options => {
  const server = createProxyServer(options);
  server.on('proxyRes', (answer, _request, response) => {
    answer.on('close', () => {
      if (!answer.complete) {
        response.destroy();
      }
    });
  });
  return server;
};
