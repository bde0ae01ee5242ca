// SPDX-License-Identifier: Apache-2.0
/*
 * liar.c - an INS that lies: it meets the module by /dev/mwcomms-ins, answers what it is asked, and breaks one rule.
 * Trust: it is the one not to be trusted.
 *
 * usage: liar LIE           plays until it is given up (exit 0) or nobody asks for 12 s (exit 3)
 *        liar random SEED N N words of what it may write made random, beginning anew whenever it is given up; says how often
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "chan/arena.h"
#include "chan/door.h"
#include "chan/msg.h"

#define DEVICE "/dev/mwcomms-ins"
#define IDLE_MS 12000

struct meeting {
	int fd;
	uint32_t slots, arena_pages, door_pages;
	uint8_t *arena, *door, *rings; /* rings: of each slot, at most one page each way */
	struct mw_view view;
	struct mw_door_view dv;
	struct mw_ring req, rep;
	uint64_t req_cons, rep_prod;
	uint8_t *granted;
	uint32_t last;  /* slot given last */
};

static const char *lie = "";
static uint64_t seed = 1;
static struct meeting it;

static uint32_t chance(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16) % n;
}

static bool lies(const char *name)
{
	return !strcmp(lie, name);
}

static uint64_t odd_number(void)
{
	static const uint64_t odd[] = { 0, 1, 7, 47, 48, 4095, 4096, 65535, 65536, 65537, 131072, 1u << 31, ~0u, 1ull << 63, ~0ull };

	return chance(2) ? odd[chance(sizeof(odd) / sizeof(*odd))] : ((uint64_t)chance(~0u) << 32 | chance(~0u)) >> chance(64);
}

static void *map_pages(uint32_t ref, uint32_t pages)
{
	void *p = mmap(NULL, (size_t)pages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, it.fd, (off_t)ref * 4096);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* The loop carrier's refs of one part follow each other. */
static bool meet(void)
{
	uint32_t *d, slots;
	static const uint64_t one = 1;

	memset(&it, 0, sizeof(it));
	it.fd = open(DEVICE, O_RDWR | O_NONBLOCK);
	if (it.fd < 0) {
		perror(DEVICE);
		return false;
	}
	d = map_pages(0, 1);
	slots = it.slots = d[2];
	it.arena_pages = d[5];
	it.door_pages = d[6];
	it.arena = map_pages(d[8], d[5]);
	it.door = map_pages(d[8 + d[5]], d[6]);
	munmap(d, 4096);
	it.granted = calloc(slots, 1);
	if (arena_check(&it.view, it.arena, ~0ull) < 0 || door_check(&it.dv, it.door, MW_DOOR_BYTES, slots) < 0) {
		fprintf(stderr, "no arena, no door\n");
		return false;
	}
	door_requests(&it.dv, &it.req);
	door_replies(&it.dv, &it.rep);
	return write(it.fd, &one, sizeof(one)) == sizeof(one);
}

static void part(void)
{
	munmap(it.arena, (size_t)it.arena_pages * 4096);
	munmap(it.door, (size_t)it.door_pages * 4096);
	free(it.granted);
	close(it.fd);
}

static void notify(void)
{
	static const uint64_t one = 1;

	if (write(it.fd, &one, sizeof(one)) < 0)
		return;
}

static void beat(void)
{
	struct mw_door *d = (struct mw_door *)it.door;

	d->heartbeat++;
	d->spare = lies("spare") ? 0 : 1000;
}

static uint32_t begin_slot(void)
{
	uint32_t s = it.last;

	for (uint32_t n = 0; n < it.slots; n++) {
		struct mw_slot *m;

		s = (s + 1) % it.slots;
		m = (struct mw_slot *)arena_slot(&it.view, s);
		if (!it.granted[s] || (m->ins.gen & 1 && !(m->app.flags & MW_APP_CLOSED)))
			continue;
		m->ins.gen = (m->ins.gen + 1) | 1;
		memset(&m->app, 0, sizeof(m->app));
		memset(&m->names, 0, sizeof(m->names));
		m->ins.rx_prod = m->ins.tx_cons = 0;
		m->ins.rx_state = 0;
		m->ins.rx_space_event = MW_NEVER;
		m->ins.state = MW_ST_OPEN;
		m->names.local.family = MW_FAMILY_IP4;
		m->names.local.port = 8080;
		it.last = s;
		return s;
	}
	return it.slots;
}

static void answer(const struct mw_req *q, struct mw_reply *r)
{
	uint32_t s;

	memset(r, 0, sizeof(*r));
	r->op = q->op;
	r->seq = q->seq;
	r->bytes = sizeof(*r);
	r->slot = q->slot;
	r->gen = q->gen;
	if (q->op == MW_OP_GRANT && q->slot < it.slots)
		it.granted[q->slot] = 1;
	if (q->op == MW_OP_REVOKE && q->slot < it.slots)
		it.granted[q->slot] = 0;
	if (q->op != MW_OP_SOCKET)
		return;
	s = begin_slot();
	if (s == it.slots) {
		r->status = -ENOBUFS;
		return;
	}
	r->slot = s;
	r->gen = ((struct mw_slot *)arena_slot(&it.view, s))->ins.gen;
}

static void put_record(struct mw_slot *m, uint32_t slot, uint32_t gen, uint32_t pad, uint8_t *page)
{
	struct mw_accepted a = { .slot = slot, .gen = gen, .pad = pad, .peer = { .family = MW_FAMILY_IP4 } };

	memcpy(page, &a, sizeof(a));
	mw_store_release(&m->ins.rx_prod, m->ins.rx_prod + sizeof(a));
}

/* What comes behind an honest reply. */
static void follow(const struct mw_req *q, const struct mw_reply *r, const uint32_t *refs)
{
	struct mw_slot *m = r->slot < it.slots ? (struct mw_slot *)arena_slot(&it.view, r->slot) : NULL;
	static uint32_t first_ref[65536];

	if (q->op == MW_OP_GRANT && q->slot < it.slots)
		first_ref[q->slot] = refs[0];
	if (!m)
		return;
	if (q->op == MW_OP_SOCKET && lies("gen"))
		m->ins.gen += 2;
	if (q->op == MW_OP_CONNECT) {
		m->ins.state = MW_ST_ESTABLISHED;
		m->names.peer.family = MW_FAMILY_IP4;
		m->names.peer.port = 80;
		if (lies("rx_prod"))
			m->ins.rx_prod = 1ull << 40;
		if (lies("tx_cons"))
			m->ins.tx_cons = 5;
		if (lies("error"))
			m->ins.error = -77, m->ins.rx_state = MW_RX_ERROR;
		if (lies("dgram")) {
			uint32_t *page = map_pages(first_ref[r->slot], 1);

			page[0] = 1u << 30;
			munmap(page, 4096);
			m->ins.rx_prod = 400;
		}
	}
	if (q->op == MW_OP_LISTEN && (lies("record") || lies("record-slot") || lies("record-own"))) {
		uint8_t *page = map_pages(first_ref[r->slot], 1);

		m->ins.state = MW_ST_LISTEN;
		put_record(m, lies("record-slot") ? 1u << 20 : r->slot, r->gen, lies("record") ? 9 : 0, page);
		munmap(page, 4096);
	}
	door_mark(&it.dv, r->slot);
}

static void reply(const struct mw_req *q, struct mw_reply *r, uint32_t have)
{
	static uint8_t value[MW_VALUE_MAX + 64];
	uint32_t more = q->op == MW_OP_GETSOCKOPT || q->op == MW_OP_IOCTL ? have : 0;

	if (q->op == MW_OP_SOCKET) {
		if (lies("seq"))
			r->seq += 1000;
		if (lies("op"))
			r->op = MW_OP_BIND;
		if (lies("status"))
			r->status = 5;
		if (lies("slot"))
			r->slot = 1u << 30;
		if (lies("bare"))
			r->slot = it.slots - 1;
		if (lies("even"))
			r->gen++;
		if (lies("value"))
			more = 32;
	}
	r->value_bytes = more;
	r->bytes = (uint16_t)(sizeof(*r) + more);
	if (q->op == MW_OP_SOCKET && lies("length"))
		r->bytes = 5;
	door_put(&it.rep, &it.rep_prod, r, sizeof(*r), value, more);
	if (q->op == MW_OP_SOCKET && lies("twice"))
		door_put(&it.rep, &it.rep_prod, r, sizeof(*r), value, more);
	if (q->op == MW_OP_SOCKET && lies("rep_prod"))
		((struct mw_door *)it.door)->rep_prod += 1ull << 33;
	if (q->op == MW_OP_SOCKET && lies("req_cons"))
		((struct mw_door *)it.door)->req_cons += 1ull << 33;
}

static bool serve_one(void)
{
	static uint8_t raw[sizeof(struct mw_req) + MW_VALUE_MAX];
	struct mw_req q;
	struct mw_reply r;
	int32_t n = door_take(&it.req, &it.req_cons, raw, 16, sizeof(raw));

	if (n <= 0 || msg_request_check(&q, raw, (size_t)n) < 0)
		return false;
	if (q.op != MW_OP_HELLO && q.op != MW_OP_GRANT && lies("silent"))
		return true;
	answer(&q, &r);
	reply(&q, &r, q.op == MW_OP_GETSOCKOPT || q.op == MW_OP_IOCTL ? q.u.option.have : 0);
	follow(&q, &r, (uint32_t *)(void *)(raw + msg_request_bytes(q.op)));
	return true;
}

/* Ends what the module has closed. */
static void reap(void)
{
	for (uint32_t s = 0; s < it.slots; s++) {
		struct mw_slot *m = (struct mw_slot *)arena_slot(&it.view, s);

		if (!it.granted[s] || !(m->ins.gen & 1) || !(m->app.flags & MW_APP_CLOSED) || lies("keep"))
			continue;
		m->ins.gen++;
		door_mark(&it.dv, s);
	}
}

static void random_word(void)
{
	struct mw_door *d = (struct mw_door *)it.door;
	uint32_t s = chance(4) ? it.last : chance(it.slots);
	struct mw_slot *m = (struct mw_slot *)arena_slot(&it.view, s);
	uint64_t *words = (uint64_t *)(void *)m;

	switch (chance(2000)) {
	case 0:
		mw_store(&d->rep_prod, odd_number());
		break;
	case 1:
		mw_store(&d->req_cons, odd_number());
		break;
	case 2:
		it.door[chance(MW_DOOR_BYTES)] = (uint8_t)chance(256);
		break;
	default: /* a slot's word; mostly of the INS's own */
		mw_store(&words[chance(chance(3) ? 16 : sizeof(*m) / 8)], odd_number());
		door_mark(&it.dv, chance(2) ? s : chance(it.slots));
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until it is given up: 0; or until nothing was asked for so long: 3. `words` to make random. */
static int play(uint64_t *words)
{
	struct mw_arena *a = (struct mw_arena *)it.arena;
	uint64_t asked = now_ms(), news;

	for (;;) {
		struct pollfd p = { it.fd, POLLIN, 0 };
		bool any = false;

		mw_store(&a->sleeping, 1u);
		mw_fence();
		poll(&p, 1, *words ? 0 : 20);
		if (p.revents & POLLHUP)
			return 0;
		if (read(it.fd, &news, sizeof(news)) == 0)
			return 0;
		beat();
		while (serve_one())
			any = true;
		reap();
		for (uint32_t n = 0; n < 200 && *words; n++, (*words)--)
			random_word();
		if (lies("marks"))
			for (uint32_t s = 0; s < it.slots; s++)
				door_mark(&it.dv, s);
		notify();
		if (any)
			asked = now_ms();
		if (now_ms() > asked + IDLE_MS || (lies("random") && !*words))
			return 3;
	}
}

int main(int argc, char **argv)
{
	uint64_t words = 0, all, given_up = 0;
	int r;

	if (argc > 1)
		lie = argv[1];
	if (!lies("random")) {
		if (!meet())
			return 1;
		r = play(&words);
		part();
		return r;
	}
	seed = argc > 2 ? strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull + 1 : 1;
	words = all = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000;
	while (words) {
		if (!meet())
			return 1;
		given_up += play(&words) == 0;
		part();
	}
	printf("%llu words, given up %llu times\n", (unsigned long long)all, (unsigned long long)given_up);
	return 0;
}
