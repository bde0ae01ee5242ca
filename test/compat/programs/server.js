// SPDX-License-Identifier: Apache-2.0
// Node: http and net servers in cluster workers, fetch and net as clients. server.js THERE
'use strict';
const cluster = require('node:cluster');
const crypto = require('node:crypto');
const http = require('node:http');
const net = require('node:net');

const there = process.argv[2];
const sum = (data) => crypto.createHash('sha256').update(data).digest('hex');

async function body(request) {
	const parts = [];
	for await (const part of request) parts.push(part);
	return Buffer.concat(parts);
}

// What a client of ours got from a server that refuses, or that goes away.
function refused(port) {
	return new Promise((resolve) => {
		net.connect({ host: there, port }).on('error', (e) => resolve(`${e.code} ${e.syscall} ${e.errno}`))
			.on('connect', () => resolve('connected'));
	});
}

function through(size) {
	return new Promise((resolve, reject) => {
		const data = crypto.randomBytes(size), parts = [];
		const s = net.connect({ host: there, port: 9001 });
		s.on('data', (part) => parts.push(part)).on('error', reject)
			.on('end', () => resolve(`${Buffer.concat(parts).equals(data)} ${s.bytesRead} ${s.bytesWritten}`));
		s.end(data);
	});
}

const routes = {
	'/hello': (q, a) => a.end(`hello ${q.socket.remoteFamily} ${q.socket.localPort}\n`),
	'/post': async (q, a) => a.end(sum(await body(q))),
	'/large': (q, a) => a.end(Buffer.alloc(5e6, 'x')),
	'/worker': (q, a) => a.end(`${cluster.worker.id}`),
	'/fetch': async (q, a) => {
		const all = await Promise.all([1, 1000, 300000].map((n) => fetch(`http://${there}:9000/bytes/${n}`)));
		const sums = await Promise.all(all.map(async (r) => sum(Buffer.from(await r.arrayBuffer()))));
		a.end(sums.join(' '));
	},
	'/upload': async (q, a) => {
		const r = await fetch(`http://${there}:9000/up`, { method: 'POST', body: Buffer.alloc(400000, 'y') });
		a.end(await r.text());
	},
	'/refused': async (q, a) => a.end(await refused(9)),
	'/net': async (q, a) => a.end(await through(700000)),
	'/aborted': async (q, a) => {
		const c = new AbortController();
		setTimeout(() => c.abort(), 100);
		const r = await fetch(`http://${there}:9000/slow/1000`, { signal: c.signal }).then((x) => x.text()).catch((e) => e);
		a.end(r.name);
	},
	'/in-use': (q, a) => {
		// A cluster's worker asks its primary for listeners: exclusive is by itself.
		const s = net.createServer().on('error', (e) => a.end(`${e.code} ${e.syscall}`));
		s.listen({ port: 7000, host: '::', exclusive: true }, () => { s.close(); a.end('listening'); });
	},
};

if (cluster.isPrimary) {
	for (let i = 0; i < 2; i++) cluster.fork();
	process.on('SIGTERM', () => process.exit(0));
} else {
	http.createServer((q, a) => (routes[q.url] || ((x, y) => { y.statusCode = 404; y.end(); }))(q, a)).listen(8080);
	net.createServer({ allowHalfOpen: true }, (s) => { s.setNoDelay(true); s.setKeepAlive(true, 1000); s.pipe(s); s.on('error', () => {}); }).listen(7000);
}
