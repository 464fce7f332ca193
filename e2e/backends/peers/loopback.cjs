// Preloaded into a Node process: every server of it listens on the loopback interface, whatever it asks for.
const { Server } = require('node:net');

const listen = Server.prototype.listen;

Server.prototype.listen = function (first, ...rest) {
  const callback = rest.find((argument) => typeof argument === 'function');
  const options = typeof first === 'object' ? first : { port: Number(first) };
  return listen.call(this, { ...options, host: '127.0.0.1' }, callback);
};
