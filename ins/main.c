// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - the isolated network stack: set up, sandbox, loop.
 * Trust: command line and descriptors 3 and 4 come from the broker.
 *
 * The loop: wait; handle what the kernel says; serve what the application marked ready; ring all doorbells that
 * this earned, once each. It sleeps only after it has said so in the arena and looked once more.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ins/accept.h"
#include "ins/again.h"
#include "ins/app.h"
#include "ins/bell.h"
#include "ins/block.h"
#include "ins/data.h"
#include "ins/dgram.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/keeper.h"
#include "ins/loopback.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/poll.h"
#include "ins/recover.h"
#include "ins/sandbox.h"
#include "ins/slots.h"
#include "ins/state.h"
#include "ins/trim.h"
#include "ins/upgrade.h"
#include "ins/uplink.h"
#include "ins/urgent.h"
#include "ins/verb.h"
#include "ins/xen/front.h"
#include "ins/xen/session.h"
#include "lib/about.h"
#include "link/broker.h"
#include "link/memfd.h"

#define RX_RING_BYTES (64u << 10)
#define TX_RING_BYTES (128u << 10)
#define TRIM_MS 100
#define BEAT_MS 500 /* door: its heartbeat is to be seen to move */
#define STARVED_MS 100 /* descriptors ran out: look again, others may have given some back */

static const char help[] =
	"Usage: mw-ins isolated|host SLOTS [ins=N] [loopback] [core] [upgrade] [GATE...]\n"
	"       mw-ins xen [gate=GATE]...\n"
	"       mw-ins door file=PATH [gate=GATE]...\n\n"
	"An isolated network stack. The first is started by `mw run`, which gives it descriptors; the second by the init of an\n"
	"INS domain; the third is for tests.\n\n"
	"  isolated    what listens is published on the host; it was put into a network namespace of its own\n"
	"  host        it serves in the caller's network\n"
	"  SLOTS       sockets at a time, at most; 0: what the limit of descriptors allows\n"
	"  ins=N       its number among the application's (default: 0)\n"
	"  loopback    as `mw run --host-loopback`\n"
	"  core        as `mw run --core`\n"
	"  upgrade     goes on with what another has\n"
	"  GATE        as `mw run --gate`: [PORT=]MODE[,SETTING=VALUE]...\n"
	"  file=PATH   the other machine's memory: /dev/mwcomms-ins, or a file\n"
	"  gate=GATE   a GATE\n"
	"  -h, --help  this text\n"
	"  --version   its version\n";

struct ins ins;

static void read_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	ins.now_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void connected(struct isock *s)
{
	struct mw_addr peer;
	int e;

	if (s->flags & F_LOOP_WAITS)
		return;
	e = ins.stack->error(s->tcp);
	if (e == ECONNREFUSED && loopback_ask(s))
		return;
	if (!e && ins.stack->name_of(s->tcp, &peer, true) < 0)
		e = ECONNREFUSED; /* a worker died that had taken the error */
	if (e) {
		again_failed(s, e);
		return;
	}
	slots_names(s, NULL);
	slots_state(s, MW_ST_ESTABLISHED);
	observe(s, MW_EV_CONNECT, flow_of(s)->id);
	bell_drain(s);
	data_tx(s);
}

static void tcp_event(struct isock *s, uint32_t mask)
{
	uint32_t gen = s->gen;

	if (s->state == MW_ST_CLOSED)
		return;
	if (s->state == MW_ST_CONNECTING) {
		if (!(mask & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		connected(s);
	}
	if (mask & (EPOLLOUT | EPOLLERR) && s->gen == gen && s->flags & F_TX_BLOCKED) {
		s->flags &= ~F_TX_BLOCKED;
		data_tx(s);
	}
	if (s->gen == gen && s->state == MW_ST_CLOSING && s->flags & F_TX_DONE)
		data_tx(s); /* it lingers: FIN may have been acknowledged */
	if (mask & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && s->gen == gen)
		data_rx(s, mask & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)); /* a recv() ends before urgent data */
	if (mask & EPOLLPRI && s->gen == gen && s->tcp >= 0 && s->flags & F_RX_PAUSED)
		urgent_announced(s);
	if (mask & EPOLLERR && s->gen == gen && s->tcp >= 0 && s->flags & F_RX_DONE) {
		int e = ins.stack->error(s->tcp);

		if (e)
			data_fail(s, e, MW_END_RESET);
	}
}

static void take_kick(void)
{
	uint64_t count;

	if (read(ins.fd->kick, &count, sizeof(count)) < 0)
		return; /* somebody else's kick was taken with ours */
}

static void socket_event(const struct event *e)
{
	struct isock *s = slots_find(e->index, e->gen);

	if (!s)
		return;
	journal_at(s);
	if (s->type == MW_TYPE_DGRAM)
		dgram_event(s, e);
	else if (e->kind == EV_TCP)
		tcp_event(s, e->mask);
	else if (e->kind == EV_LISTEN)
		accept_event(s, e->sub);
	else if (e->kind == EV_TOMB)
		bell_gone(s);
	else if (s->state == MW_ST_LISTEN)
		accept_bell(s, e->mask);
	else
		bell_event(s, e->mask);
}

static void dispatch(const struct event *e)
{
	switch (e->kind) {
	case EV_TCP:
	case EV_LISTEN:
	case EV_BELL:
	case EV_TOMB:
		socket_event(e);
		break;
	case EV_CONN:
		app_event(e->index, e->gen);
		break;
	case EV_CONTROL:
		app_accept();
		break;
	case EV_KICK:
		if (e->sub)
			front_news();
		else
			take_kick();
		break;
	case EV_BROKER:
		uplink_event();
		break;
	case EV_VERB:
		verb_event();
		break;
	case EV_KINDS:
		break;
	}
}

static void serve_ready(void)
{
	uint64_t bits;
	int32_t first;

	for (uint32_t from = 0; (first = ready_take(&ins.view, from, &bits)) >= 0; from = (uint32_t)first + 64) {
		for (; bits; bits &= bits - 1) {
			struct isock *s = sock_at((uint32_t)first + (uint32_t)__builtin_ctzll(bits));

			if (!(s->gen & 1) || (s->type == MW_TYPE_DGRAM && !ins.door))
				continue;
			journal_at(s);
			if (ins.door)
				front_service(s);
			else
				data_service(s);
		}
	}
}

/* How long to sleep: says so in the arena first, then looks once more for marks that came in between. */
static int sleep_ms(struct mw_arena *a)
{
	int ms, due;

	__atomic_store_n(&a->sleeping, 1, __ATOMIC_SEQ_CST);
	mw_fence(); /* pairs with ready_mark */
	if (ready_any(&ins.view) || (ins.door && control_pending()))
		return 0;
	ms = ins.starved ? STARVED_MS : ins.trim_due ? TRIM_MS : ins.door ? BEAT_MS : -1;
	due = gate_wait_ms();
	return due >= 0 && (ms < 0 || due < ms) ? due : ms;
}

static void tick(void)
{
	static uint64_t last_ns;

	if (ins.now_ns - last_ns < TRIM_MS * 1000000ull)
		return;
	last_ns = ins.now_ns;
	if (ins.trim_due)
		trim();
}

/* Requests come behind the closes that came before them: a closed port is free. */
static void dispatch_all(int n)
{
	struct event e;

	for (int requests = 0; requests < 2; requests++) {
		for (int i = 0; i < n; i++) {
			poll_event(i, &e);
			if ((e.kind == EV_CONN) == requests)
				dispatch(&e);
		}
	}
}

/* What one wake-up brought: n events. */
static void round_of(int n)
{
	struct mw_tele *t = observe_header();
	uint64_t requests;

	read_clock();
	mw_store(&t->heartbeat_ns, ins.now_ns);
	dispatch_all(n);
	urgent_signalled();
	requests = ins.door ? control_limit() : 0; /* behind closes that were marked before them, as in dispatch_all() */
	serve_ready();
	if (ins.door)
		app_door(requests);
	gate_tick();
	block_sweep();
	bell_ring_all();
	app_settled();
	if (ins.starved && n == 0)
		accept_resume_all();
	observe_wake();
	mw_store(&t->heartbeat, t->heartbeat + 1);
	tick();
	if (ins.door)
		front_round();
}

static void loop(void)
{
	struct mw_arena *a = ins_arena();

	for (;;) {
		int n, ms;

		upgrade_due();
		ms = app_settling() || block_sweeping() ? 0 : sleep_ms(a);
		journal->at = 0;
		mw_store(&journal->asleep, 1u);
		n = poll_wait(ms);
		mw_store(&journal->asleep, 0u);
		mw_fence(); /* pairs with the keeper's, between its word and its look */
		if (mw_load(&journal->unwatched))
			keeper_poke();
		mw_store(&a->sleeping, 0u);
		round_of(n);
	}
}

static void fail(const char *what, int r)
{
	struct broker_msg m = { .kind = BM_FAILED, .status = r };

	snprintf((char *)m.text, sizeof(m.text), "%s", *state_misfit() ? state_misfit() : what);
	uplink_send(&m);
	_exit(1);
}

static void check(int r, const char *what)
{
	if (r < 0)
		fail(what, r);
}

static void raise_limit(int resource, struct rlimit *l)
{
	if (getrlimit(resource, l) == 0) {
		l->rlim_cur = l->rlim_max;
		setrlimit(resource, l);
	}
}

/* As many descriptors as we may have: two for each connection. */
static uint32_t slots_for_limit(void)
{
	struct rlimit l;
	uint64_t n;

	raise_limit(RLIMIT_NOFILE, &l);
	n = l.rlim_max == RLIM_INFINITY ? MW_SLOTS_MAX : l.rlim_max < 64 ? 0 : (l.rlim_max - 64) / 2;
	n = n > MW_SLOTS_MAX ? MW_SLOTS_MAX : n;
	return n < 64 ? 64 : (uint32_t)(n & ~63ull);
}

static void set_up_tables(uint32_t slots)
{
	check(slots_init(slots), "make the socket table");
	check(operator_init(slots), "make room for what operators set");
	check(block_init(), "make the table of blocked peers");
	check(gate_init(slots), "make the gate's table");
	check(dgram_init(), "make room for datagrams");
	check(app_init(), "make the table of connections");
	check(control_init(), "make room for where the control rings stand");
	check(mirror_init(), "make room for how far telemetry is mirrored");
	check(option_init(), "make room for options' values");
}

/* What has the application's sockets in it: ours, or another machine's. */
static void set_up_arena(uint32_t slots, const struct session *door)
{
	if (door) {
		check(memory_init(door->carrier, &door->shape), "reserve room for the other machine's memory");
		return;
	}
	ins.fd->arena = memfd_make(&ins.view, slots, RX_RING_BYTES, TX_RING_BYTES);
	check(ins.fd->arena, "make the shared memory");
	ins_arena()->started_ns = ins.now_ns;
}

/* `door` is NULL where the application is on the same host. */
static void set_up_fresh(uint32_t slots, const struct session *door)
{
	uint32_t fit = slots_for_limit();
	int state;

	if (door && door->shape.slots > fit)
		fail("have descriptors for so many slots", -EMFILE);
	slots = door ? door->shape.slots : slots && slots < fit ? (slots + 63) & ~63u : fit;
	ins.door = door;
	ins.number = door ? door->number : ins.number;
	state = state_make(slots);
	check(state, "make the memory of its state");
	check(journal_init(), "make the journal");
	ins.fd->state = state;
	set_up_arena(slots, door);
	check(observe_init(slots), "make the telemetry memory");
	set_up_tables(slots);
	slots_recover();
	check(dgram_digits(), "make descriptors that count");
	check(poll_init(), "make an epoll instance");
	ins.fd->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	check(ins.fd->kick < 0 ? -errno : 0, "make the kick descriptor");
	check(poll_add(ins.fd->kick, EV_KICK, 0, 0, 0, EPOLLIN), "watch the kick descriptor");
	check(poll_add(INS_BROKER_FD, EV_BROKER, 0, 0, 0, EPOLLIN), "watch the broker");
	check(verb_init(), "watch for verbs");
	if (door)
		check(front_init(door->carrier), "watch the other machine");
	else
		check(app_watch(), "listen for the application");
}

/* The application can write the arena's header: nothing is taken from it that the state does not say too. */
static int map_taken(void)
{
	int r = memfd_map(&ins.view, INS_ARENA_FD, true);

	if (r == 0 && (ins.view.slots != state_slots() || ins.view.rx_bytes != RX_RING_BYTES || ins.view.tx_bytes != TX_RING_BYTES))
		r = -EPROTO;
	if (r == 0)
		r = observe_init(state_slots());
	if (r == 0 && ins.tele.slots != state_slots())
		r = -EPROTO;
	return r;
}

/* Another's memory and tables; upgrade_take() gets its descriptors. */
static void set_up_taken(void)
{
	slots_for_limit();
	check(state_open(INS_STATE_FD), "take over the state");
	check(map_taken(), "take over the shared memory");
	check(journal_init(), "make the journal");
	set_up_tables(state_slots());
	check(state_complete(), "take over the state");
}

/* The worker: never returns. */
static void work(void)
{
	struct broker_msg ready = { .kind = BM_READY };

	if (ins.core)
		prctl(PR_SET_DUMPABLE, 1);
	urgent_init();
	if (ins.door)
		check(memory_map(), "map the other machine's memory");
	check(sandbox_worker(), "install the worker's seccomp filter");
	if (!journal->ready) {
		if (ins.door)
			uplink_tell(&ready, &ins.fd->tele, 1);
		else
			uplink_tell(&ready, (int[]){ ins.fd->arena, ins.fd->tele, ins.fd->state }, 3);
		journal->ready = 1;
	} else {
		read_clock();
		recover();
		round_of(poll_left());
	}
	if (ins.door)
		front_up();
	loop();
}

static int serve(uint32_t slots, const struct session *door)
{
	const char *what = "";
	struct rlimit core;
	int r;

	ins.stack = &stack_linux;
	ins.control = INS_LISTEN_FD;
	read_clock();
	if (ins.core)
		raise_limit(RLIMIT_CORE, &core);
	if (ins.taken)
		set_up_taken();
	else
		set_up_fresh(slots, door);
	check(keeper_init(), "watch its worker");
	r = sandbox_enter(&what);
	check(r, what);
	if (ins.taken)
		upgrade_take();
	return keeper(work);
}

static int serve_door(const struct session *door)
{
	return serve(0, door);
}

int main(int argc, char **argv)
{
	int r = about("mw-ins", help, argc, argv);

	if (r >= 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && (!strcmp(argv[1], "door") || !strcmp(argv[1], "xen")))
		return session(argc, argv, serve_door);
	if (argc < 3 || fcntl(INS_BROKER_FD, F_GETFD) < 0 || fcntl(INS_LISTEN_FD, F_GETFD) < 0) {
		fprintf(stderr, "mw-ins: is started by `mw run`, not by hand\n");
		return 2;
	}
	ins.publish = !strcmp(argv[1], "isolated");
	for (int i = 3; i < argc; i++) {
		if (!strncmp(argv[i], "ins=", 4))
			ins.number = (uint32_t)strtoul(argv[i] + 4, NULL, 10);
		else if (!strcmp(argv[i], "loopback"))
			ins.host_loopback = true;
		else if (!strcmp(argv[i], "upgrade"))
			ins.taken = true;
		else if (!strcmp(argv[i], "core"))
			ins.core = true;
		else if (!gate_rule(argv[i]))
			return 2;
	}
	return serve((uint32_t)strtoul(argv[2], NULL, 10), NULL);
}
