// SPDX-License-Identifier: Apache-2.0
/*
 * door_lies.c - a protected machine that lies to its INS: requests of all kinds about anything, control rings full of noise,
 * indexes and flags that change at random under traffic, datagram records that are none, and rings made of any page.
 * Trust: none. What must hold: no worker dies, every request that makes sense is answered once, what breaks the rules of a socket
 * ends that socket alone, what breaks the door's ends the INS in good order, and the next one serves.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/telem.h"
#include "test/door/app.h"

#define LOOPBACK 0x7f000001u
#define GONE   (4 << 8)
#define BROKEN (5 << 8)
#define NONE   0xffffffffu

static struct app app;
static const char *mw_ins;
static uint32_t steps = 100000;
static uint64_t seed = 1;

static uint32_t any(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return below ? (uint32_t)(seed >> 33) % below : (uint32_t)(seed >> 32);
}

/* Often a small number, or one near a border. */
static uint64_t odd_number(void)
{
	static const uint64_t near[] = { 0, 1, 2, 7, 8, 48, 4095, 4096, 4097, 65535, 65536, 131072, 0x7fffffff, 0x80000000u, 0xffffffffu,
					 0x100000000ull, 0x7fffffffffffffffull, ~0ull };

	return any(3) ? near[any(sizeof(near) / sizeof(near[0]))] + any(3) - 1 : (uint64_t)any(0) << 32 | any(0);
}

static struct mw_door *door(void)
{
	return (struct mw_door *)(mw_uintptr)door_header(&app.door);
}

static void start(void)
{
	app_start(&app, mw_ins);
	for (uint32_t i = 0; i < 16; i++)
		must(app_grant(&app, i, i < 12 ? 2 : 32, i < 12 ? 4 : 32) == 0);
}

/* One that is honest still works. */
static void serves(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(LOOPBACK) };
	struct sock l, s;
	int fd, e;
	char c;

	for (uint32_t i = 0; i < 20; i++) { /* rings of unknown pages go */
		mw_store(&app_slot(&app, i)->app.flags, MW_APP_CLOSED);
		if (ready_mark(&app.view, i))
			app_kick(&app);
		for (int k = 0; k < 200 && (e = app_revoke(&app, i)) == -EBUSY; k++)
			usleep(10000);
		must(e == 0 || e == -ENOENT);
	}
	for (uint32_t i = 60; i < 64; i++) {
		e = app_grant(&app, i, 1, 1);
		must(e == 0 || e == -EEXIST || e == -EBUSY);
	}
	must(sock_new(&app, &l, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0);
	sock_setopt(&app, &l, SOL_SOCKET, SO_REUSEADDR, 1);
	must(sock_bind(&app, &l, LOOPBACK, port) == 0 && sock_listen(&app, &l, 5) == 0);
	must((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	must(sock_accept(&app, &l, &s) == 0 && sock_send(&app, &s, "x", 1) == 1 && read(fd, &c, 1) == 1);
	sock_close(&app, &s);
	sock_close(&app, &l);
	close(fd);
}

/* --- requests that are well formed, about anything --- */

static void random_address(struct mw_addr *a)
{
	*a = (struct mw_addr){ .family = (uint16_t[]){ 4, 4, 4, 6, 0 }[any(5)], .port = (uint16_t)(any(2) ? any(0) : 5000 + any(4)) };
	if (a->family == 4)
		memcpy(a->addr, any(4) ? "\x7f\0\0\1" : "\x0a\1\2\3", 4);
	else if (a->family == 6)
		a->addr[15] = 1;
	else
		a->port = 0;
}

static uint32_t random_refs(uint32_t *refs, struct mw_req_grant *g)
{
	uint32_t pages = (uint32_t)(app.file_bytes / MW_PAGE);

	*g = (struct mw_req_grant){ 1u << any(6), 1u << any(7) };
	for (uint32_t i = 0; i < g->rx_pages + g->tx_pages; i++) /* never the door's or the arena's own: case_any_page() has those */
		refs[i] = any(20) ? pages - 1 - any(2000) : pages + (uint32_t)odd_number() % 0x7fffffff;
	return (g->rx_pages + g->tx_pages) * 4;
}

/* Any order, but for what would keep serves() from being served: no peers but those of 10/8, no socket's own end but of those that there are, no options of all. */
static uint32_t random_verb(uint8_t *value, uint32_t slot, uint32_t gen)
{
	struct verb_msg m = { .verdict = odd_number(), .verb = any(9) ? any(VERB_NUM) : (uint32_t)odd_number(), .slot = slot, .gen = gen, .status = (int32_t)any(3),
			      .level = (int32_t[]){ 0, 1, 6, 17, 41 }[any(5)], .name = (int32_t)any(80), .bytes = any(9) ? any(40) : (uint32_t)odd_number(),
			      .flags = any(4) ? 0 : (uint32_t)odd_number(), .prefix = any(9) ? 8 + any(25) : (uint32_t)odd_number(), .pad = any(2), .number = odd_number() };

	if (m.verb == VERB_CAP || m.verb == VERB_GATE)
		m.verb = VERB_GET; /* theirs holds for everybody */
	if (m.prefix < 8)
		m.prefix = 129;
	if (slot == VERB_ALL)
		m.gen = 1;
	if (!any(9))
		m.addr = (struct mw_addr){ .family = (uint16_t)any(0), .port = (uint16_t)any(0) };
	else
		m.addr = (struct mw_addr){ .family = MW_FAMILY_IP4, .addr = { 10, (uint8_t)any(0) } };
	for (uint32_t i = 0; i < MW_VERB_BYTES; i++)
		value[i] = any(3) ? 0 : (uint8_t)any(0);
	memcpy(value, &m, sizeof(m));
	return MW_VERB_BYTES;
}

static uint32_t random_request(struct mw_req *q, uint8_t *value, uint32_t *op)
{
	uint32_t n = 0;

	*op = 2 + any(MW_OP_NUM - 2);
	q->slot = any(30) ? any(20) : (uint32_t)odd_number();
	q->gen = any(10) ? mw_load(&app_slot(&app, q->slot % APP_SLOTS)->ins.gen) : (uint32_t)odd_number();
	if (*op == MW_OP_BIND || *op == MW_OP_CONNECT)
		random_address(&q->u.addr);
	else if (*op == MW_OP_SOCKET)
		q->u.socket = (struct mw_req_socket){ odd_number(), (uint16_t)(any(9) ? 4 + 2 * any(2) : any(0)), (uint16_t)(any(9) ? 1 + any(3) : any(0)), !any(9) };
	else if (*op == MW_OP_LISTEN)
		q->u.listen.backlog = (int32_t)odd_number();
	else if (*op == MW_OP_FLUSH)
		q->u.flush.tag = (uint32_t)odd_number();
	else if (*op == MW_OP_SHUTDOWN)
		q->u.shutdown.how = any(3);
	else if (*op == MW_OP_URGENT)
		q->u.urgent.what = any(4);
	else if (*op == MW_OP_GRANT)
		n = random_refs((uint32_t *)value, &q->u.grant);
	else if (*op == MW_OP_VERB)
		n = random_verb(value, q->slot, q->gen);
	if (*op == MW_OP_SETSOCKOPT || *op == MW_OP_GETSOCKOPT || *op == MW_OP_IOCTL) {
		n = any(4) ? any(64) : any(4000);
		q->u.option = (struct mw_req_option){ .level = (int32_t[]){ 0, 1, 6, 17, 41 }[any(5)], .name = any(9) ? (int32_t)any(80) : (int32_t)odd_number(),
						      .bytes = any(2) ? (int32_t)n : (int32_t)odd_number(), .have = n, .absent = any(5) ? 0 : any(8) };
		if (*op == MW_OP_IOCTL)
			q->u.option.name = 0;
		for (uint32_t i = 0; i < n; i++)
			value[i] = any(3) ? 0 : (uint8_t)any(0);
	}
	return n;
}

/* Gives up what no one needs, so that there is always something to use. */
static void close_some(void)
{
	for (uint32_t i = 0; i < 20; i++)
		if (!any(3))
			__atomic_fetch_or(&app_slot(&app, i)->app.flags, MW_APP_CLOSED | (any(2) ? MW_APP_SHUT_WR : 0), __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < 20; i++)
		if (ready_mark(&app.view, i))
			app_kick(&app);
}

static void case_requests(void)
{
	static uint8_t value[8192];
	uint32_t refused = 0, op;

	start();
	for (uint32_t i = 0; i < steps / 2; i++) {
		struct mw_req q = { 0 };
		uint32_t n = random_request(&q, value, &op);
		int e = app_call(&app, &q, op, value, n, NULL);

		must(e != -ETIMEDOUT);
		refused += e < 0;
		if (i % 50 == 0)
			close_some();
	}
	serves(4100);
	printf("%u requests, %u refused\n", steps / 2, refused);
	must(app_stop(&app) == GONE);
}

/* --- noise in the control rings --- */

static int ended_how(void)
{
	int status;

	app_kick(&app);
	status = app_wait_end(&app);
	close(app.news);
	app.news = -1;
	munmap(app.file, app.file_bytes);
	close(app.fd);
	return status;
}

static void case_noise(void)
{
	uint32_t entries = 0;

	for (uint32_t i = 0; i < steps / 500; i++) {
		uint8_t *ring;

		app_start(&app, mw_ins);
		ring = app.file + ((uint8_t *)(mw_uintptr)app.door.base - app.file) + MW_DOOR_REQ_OFFSET;
		for (uint32_t b = 0; b < MW_DOOR_RING; b++)
			ring[b] = (uint8_t)any(0);
		entries += MW_DOOR_RING / 16;
		switch (any(3)) {
		case 0: /* what may be a record, or many */
			mw_store(&door()->req_prod, app.req_prod + (any(MW_DOOR_RING / 8) + 1) * 8);
			break;
		case 1:
			mw_store(&door()->req_prod, app.req_prod + MW_DOOR_RING + 1 + (odd_number() >> 1));
			break;
		default: /* no room for a reply, and a request */
			mw_store(&door()->rep_cons, app.rep_cons - MW_DOOR_RING - any(100));
			app_ask(&app, &(struct mw_req){ .u.hello.version = 1 }, MW_OP_HELLO, NULL, 0);
		}
		must(ended_how() == BROKEN);
	}
	printf("%u entries of noise, %u INSs ended\n", entries, steps / 500);
}

/* --- words of slots --- */

static void lie_about(uint32_t slot)
{
	struct mw_slot *m = app_slot(&app, slot);
	uint64_t value = odd_number();

	switch (any(12)) {
	case 0: mw_store(&m->app.rx_cons, value); break;
	case 1: mw_store(&m->app.tx_prod, value); break;
	case 2: mw_store(&m->app.rx_event, value); break;
	case 3: mw_store(&m->app.tx_event, value); break;
	case 4: mw_store(&m->app.tx_urgent, value); break;
	case 5: mw_store(&m->app.flags, (uint32_t)value & ~(uint32_t)(any(4) ? MW_APP_CLOSED : 0)); break;
	case 6: mw_store(&m->app.tx_prod, mw_load(&m->ins.tx_cons) + any(70000)); break;
	case 7: mw_store(&m->app.rx_cons, mw_load(&m->ins.rx_prod) - any(70000)); break;
	case 8: mw_store(&m->ins.rx_prod, value); break; /* ours to read only */
	case 9: mw_store(&m->ins.gen, (uint32_t)value); break;
	case 10: memset(&m->ins, (int)value, sizeof(m->ins)); break;
	default: mw_store((uint64_t *)m + any(sizeof(*m) / 8), value); break;
	}
	if (ready_mark(&app.view, slot))
		app_kick(&app);
}

static struct sock fresh(uint16_t type, uint16_t port)
{
	struct sock s;

	if (sock_new(&app, &s, MW_FAMILY_IP4, type) < 0)
		return (struct sock){ .slot = NONE };
	app_call(&app, &(struct mw_req){ .slot = s.slot, .gen = s.gen, .u.addr = { .family = 4, .port = port, .addr = { 127, 0, 0, 1 } } },
		 MW_OP_CONNECT, NULL, 0, NULL);
	return s;
}

/* A peer that reads, writes, and comes again. */
static pid_t chatter(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	static char text[30000];
	pid_t pid;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	must(bind(l, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(l, 100) == 0);
	pid = fork();
	if (pid)
		return close(l), pid;
	for (;;) {
		int fd = accept4(l, NULL, NULL, SOCK_NONBLOCK), last[8] = { 0 }, k = 0;

		if (fd < 0)
			continue;
		if (write(fd, text, sizeof(text)) < 0 || read(fd, text, sizeof(text)) < 0)
			errno = 0;
		close(last[k]);
		last[k++ % 8] = fd;
		close(fd);
	}
}

static void case_words(void)
{
	pid_t peer = chatter(4200);
	uint32_t lies = 0;

	start();
	for (uint32_t round = 0; round < steps / 100; round++) {
		struct sock s = fresh(round % 4 ? MW_TYPE_STREAM : MW_TYPE_DGRAM, 4200);

		for (uint32_t i = 0; i < 50 && s.slot != NONE; i++, lies++)
			lie_about(i % 5 ? s.slot : any(20));
		for (uint32_t i = 0; i < 20; i++) {
			mw_store(&app_slot(&app, i)->app.flags, MW_APP_CLOSED);
			if (ready_mark(&app.view, i))
				app_kick(&app);
		}
	}
	serves(4101);
	printf("%u lies in slots, %lu violations seen\n", lies, (unsigned long)mw_load(&door()->violations));
	must(mw_load(&door()->violations) > 0);
	must(app_stop(&app) == GONE);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
}

static void case_dgrams(void)
{
	uint32_t lies = 0;

	start();
	for (uint32_t round = 0; round < steps / 50; round++) {
		struct sock s;
		struct mw_ring r;
		uint32_t lead[2] = { (uint32_t)odd_number(), any(20) ? 0 : any(0) };

		must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_DGRAM) == 0);
		arena_tx(&app.view, s.slot, &r);
		if (any(2))
			lead[0] = sizeof(struct mw_dgram) + any(2000);
		for (uint32_t i = 0; i < 400; i++)
			ring_write(&r, i * 8, &(uint64_t){ any(3) ? 0 : odd_number() }, 8);
		ring_write(&r, 0, lead, sizeof(lead));
		ring_write(&r, sizeof(lead), &(uint32_t){ any(3) ? MW_DG_DATA : any(5) }, 4);
		ring_publish(&r, any(3) ? (uint64_t)((lead[0] + 15) & ~7u) : odd_number());
		sock_flag(&app, &s, 0);
		lies++;
		sock_close(&app, &s);
	}
	serves(4102);
	printf("%u datagram records, %lu violations seen\n", lies, (unsigned long)mw_load(&door()->violations));
	must(app_stop(&app) == GONE);
}

/* Headers, bits of slots that are not there, and the sleepers' words. */
static void case_headers(void)
{
	start();
	for (uint32_t i = 0; i < steps / 10; i++) {
		uint8_t *arena = (uint8_t *)(mw_uintptr)app.view.base, *d = (uint8_t *)(mw_uintptr)app.door.base;

		((uint64_t *)arena)[any(MW_PAGE / 8)] = odd_number();
		((uint64_t *)(arena + MW_READY_OFFSET))[any(MW_READY_BYTES / 8)] = odd_number();
		((uint64_t *)d)[8 + 2 + any(6)] = odd_number(); /* behind req_prod and rep_cons, which are no lies here */
		((uint64_t *)d)[24 + any(24)] = odd_number();
		if (i % 100 == 0)
			app_kick(&app);
	}
	serves(4103);
	must(app_stop(&app) == GONE);
}

/* Rings made of the arena's, the door's and telemetry's own pages: what comes from the network is written there. */
static void case_any_page(void)
{
	pid_t peer = chatter(4201);
	int gone = 0, broken = 0, failed;

	for (uint32_t round = 0; round < steps / 2000; round++) {
		int status;

		app_start(&app, mw_ins);
		for (uint32_t i = 0; i < 8; i++) {
			struct mw_req q = { .slot = i, .u.grant = { 4, 4 } };
			uint32_t refs[8];

			for (int k = 0; k < 8; k++)
				refs[k] = app.arena_page - 1100 + any(1200);
			app.seq++;
			msg_request_seal(&q, MW_OP_GRANT, app.seq);
			app_ask(&app, &q, MW_OP_GRANT, refs, sizeof(refs));
			q = (struct mw_req){ .u.socket = { 1, 4, 1, 0 } };
			app_ask(&app, &q, MW_OP_SOCKET, NULL, 0);
			for (uint32_t gen = 1; gen < 4; gen += 2) {
				q = (struct mw_req){ .slot = i, .gen = gen, .u.addr = { .family = 4, .port = 4201, .addr = { 127, 0, 0, 1 } } };
				app_ask(&app, &q, MW_OP_CONNECT, NULL, 0);
			}
			mw_store(&app_slot(&app, i)->app.tx_prod, (uint64_t)any(20000));
			if (ready_mark(&app.view, i))
				app_kick(&app);
		}
		usleep(10000);
		close(app.news);
		app.news = -1;
		must(waitpid(app.pid, &status, 0) == app.pid);
		app.pid = 0;
		gone += status == GONE;
		broken += status == BROKEN;
		must(status == GONE || status == BROKEN);
		munmap(app.file, app.file_bytes);
		close(app.fd);
	}
	failed = kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	printf("rings of any page: %d INSs went on, %d ended\n", gone, broken);
	must(!failed);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "requests", case_requests }, { "noise", case_noise }, { "words", case_words }, { "dgrams", case_dgrams }, { "headers", case_headers },
	{ "any-page", case_any_page },
};

/* What the INSs and we have said. False: a worker died. */
static bool read_log(int log)
{
	static char text[1 << 20];
	ssize_t n = pread(log, text, sizeof(text) - 1, 0);
	bool good;

	text[n > 0 ? n : 0] = '\0';
	good = !strstr(text, "died of status") && !strstr(text, "not so:") && !strstr(text, "ERROR:") && !strstr(text, "runtime error");
	if (!good)
		printf("%s", text + (n > 6000 ? n - 6000 : 0));
	return good;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc < 2)
		return 2;
	mw_ins = argv[1];
	steps = argc > 3 ? (uint32_t)atoi(argv[3]) : steps;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	app_own_network();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int log = memfd_create("log", MFD_CLOEXEC), status;
		pid_t pid;

		if (argc > 2 && *argv[2] && strcmp(argv[2], cases[i].name) != 0)
			continue;
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			dup2(log, 2);
			cases[i].run();
			fflush(stdout);
			_exit(0);
		}
		must(waitpid(pid, &status, 0) == pid);
		status |= !read_log(log);
		failed += status != 0;
		printf("%s: %s\n", cases[i].name, status ? "FAILED" : "ok");
		close(log);
	}
	return failed != 0;
}
