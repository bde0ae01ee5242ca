// SPDX-License-Identifier: Apache-2.0
/*
 * liar.c - an INS that lies: it meets the module, answers what it is asked, and breaks one rule.
 * Trust: it is the one not to be trusted.
 *
 * usage: liar LIE                  plays until it is given up (exit 0) or nobody asks for 12 s (exit 3)
 *        liar random SEED N [RARE] N words of what it may write made random, beginning anew whenever it is given up; says how often.
 *                                  Of RARE words (2000) three are of the control rings
 *        mw-ins xen LIE | random-N on Xen, as an INS domain's init starts mw-ins; the last word of the kernel's command line is its
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chan/arena.h"
#include "chan/door.h"
#include "chan/msg.h"
#include "test/vm/liar_way.h"

#define IDLE_MS 12000

struct meeting {
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
static uint32_t rare = 2000, burst = 200; /* burst: words at a time */
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

static bool meet(bool xen)
{
	const struct shape *s;

	memset(&it, 0, sizeof(it));
	s = way_meet(xen);
	if (!s)
		return false;
	it.slots = s->slots;
	it.arena_pages = s->arena_pages;
	it.door_pages = s->door_pages;
	it.arena = way_map(s->refs, s->arena_pages);
	it.door = way_map(s->refs + s->arena_pages, s->door_pages);
	it.granted = calloc(it.slots, 1);
	if (arena_check(&it.view, it.arena, ~0ull) < 0 || door_check(&it.dv, it.door, MW_DOOR_BYTES, it.slots) < 0) {
		fprintf(stderr, "no arena, no door\n");
		return false;
	}
	door_requests(&it.dv, &it.req);
	door_replies(&it.dv, &it.rep);
	way_up();
	return true;
}

static void part(void)
{
	munmap(it.arena, (size_t)it.arena_pages * 4096);
	munmap(it.door, (size_t)it.door_pages * 4096);
	free(it.granted);
	way_part();
}

static void beat(void)
{
	struct mw_door *d = (struct mw_door *)it.door;

	d->heartbeat++;
	d->spare = lies("spare") ? 0 : 1000;
}

static uint32_t begin_slot(void)
{
	uint32_t s = lies("reuse") ? it.last - 1 : it.last; /* at once, though the module may not have seen that it has ended */

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
	if (q->op == MW_OP_GRANT && lies("grant"))
		r->status = -ENOMEM;
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
			uint32_t *page = way_map(&first_ref[r->slot], 1);

			page[0] = 1u << 30;
			munmap(page, 4096);
			m->ins.rx_prod = 400;
		}
	}
	if (q->op == MW_OP_LISTEN && (lies("record") || lies("record-slot") || lies("record-own"))) {
		uint8_t *page = way_map(&first_ref[r->slot], 1);

		m->ins.state = MW_ST_LISTEN;
		put_record(m, lies("record-slot") ? 1u << 20 : r->slot, r->gen, lies("record") ? 9 : 0, page);
		munmap(page, 4096);
	}
	if (q->op != MW_OP_SOCKET || !lies("reuse"))
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
	if (q->op == MW_OP_GETSOCKOPT && lies("long"))
		r->length = 1 << 30;
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

		if (!it.granted[s] || !(m->ins.gen & 1) || !(m->app.flags & MW_APP_CLOSED) || lies("keep") || lies("reuse"))
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

	switch (chance(rare)) {
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
	uint64_t asked = now_ms();

	for (;;) {
		struct pollfd p = { way_fd(), POLLIN, 0 };
		bool any = false;

		mw_store(&a->sleeping, 1u);
		mw_fence();
		poll(&p, 1, *words ? 0 : 20);
		if (!way_goes_on())
			return 0;
		if (lies("deaf") && it.req_cons) {
			close(way_fd()); /* and with it, on Xen, the event channel */
			sleep(60);
			return 3;
		}
		beat();
		while (serve_one())
			any = true;
		reap();
		for (uint32_t n = 0; n < burst && *words; n++, (*words)--)
			random_word();
		if (lies("marks"))
			for (uint32_t s = 0; s < it.slots; s++)
				door_mark(&it.dv, s);
		way_notify();
		if (any)
			asked = now_ms();
		if (now_ms() > asked + IDLE_MS || (lies("random") && !*words))
			return 3;
	}
}

static int lie_once(bool xen)
{
	uint64_t none = 0;
	int r;

	if (!meet(xen))
		return 1;
	r = play(&none);
	part();
	return r;
}

/* A process for each meeting: on Xen nothing of one is to be left for the next. */
static int lie_at_random(bool xen, uint64_t all)
{
	uint64_t *words = mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), given_up = 0;
	int status;

	for (*words = all; *words; seed += 2) {
		pid_t pid = fork();

		if (pid == 0) {
			if (!meet(xen))
				_exit(1);
			status = play(words);
			part();
			_exit(status);
		}
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) == 1)
			return 1;
		given_up += WEXITSTATUS(status) == 0;
	}
	printf("%llu words, given up %llu times\n", (unsigned long long)all, (unsigned long long)given_up);
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	bool xen = argc > 1 && !strcmp(argv[1], "xen");
	const char *number;

	lie = argc > 1 + xen ? argv[1 + xen] : "";
	if (xen && (number = strchr(lie, '-')) && !strncmp(lie, "random", 6)) {
		lie = "random";
		rare = 100000; /* a meeting takes long there */
		burst = 20000;
		lie_at_random(true, strtoull(number + 1, NULL, 10));
		pause();
	}
	if (!lies("random"))
		return lie_once(xen);
	seed = argc > 2 ? strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull + 1 : 1;
	if (argc > 4)
		rare = (uint32_t)strtoul(argv[4], NULL, 10);
	return lie_at_random(false, argc > 3 ? strtoull(argv[3], NULL, 10) : 1000);
}
