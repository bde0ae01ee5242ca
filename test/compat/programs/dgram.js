// SPDX-License-Identifier: Apache-2.0
// Node: a dgram echo on 5300 and 5301 (IPv6), a client behind it; says on 5302 (TCP) what its client saw. dgram.js THERE
'use strict';
const dgram = require('node:dgram');
const net = require('node:net');

for (const [type, port] of [['udp4', 5300], ['udp6', 5301]]) {
	const s = dgram.createSocket({ type, ipv6Only: type === 'udp6' });
	s.on('message', (m, from) => s.send(m.reverse(), from.port, from.address));
	s.bind(port);
}

// Asks the server there, then a port where nobody is.
function ask(then) {
	const seen = [], s = dgram.createSocket('udp4'), sizes = [1, 1000, 8000];
	s.on('message', (m, from) => {
		seen.push(`${m.length} from ${from.port}`);
		if (sizes.length) return s.send(Buffer.alloc(sizes.shift()), 5301, process.argv[2]);
		s.close();
		let again;
		const dead = dgram.createSocket('udp4');
		dead.on('error', (e) => { clearTimeout(again); seen.push(e.code); dead.close(); then(seen.join(', ')); });
		dead.connect(9, process.argv[2], () => { dead.send('x'); again = setTimeout(() => dead.send('y'), 200); });
	});
	s.send(Buffer.alloc(sizes.shift()), 5301, process.argv[2]);
}

net.createServer((c) => {
	c.on('error', () => {}); // who only looks whether we listen is gone by then
	ask((text) => c.end(text));
}).listen(5302);
