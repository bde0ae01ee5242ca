// SPDX-License-Identifier: Apache-2.0
/*
 * recover.c - a worker has died, and this is the next one: whatever that was in the midst of is finished, or undone and
 * done again, so that no connection and no byte is lost, repeated or seen twice.
 * Trust: the state is the INS's own. A worker may have died because of a connection: one that did it three times is ended.
 *
 * What survives: every descriptor (the keeper has them too), epoll's instance with what it watches, the state's blocks
 * (state.h), the arena and telemetry's memory. What does not: statics and the heap, which are as the keeper made them.
 *
 * In order: what is half made is unmade; descriptors that nobody knows are closed; lists and tables are whole again; the deed
 * is finished by what the kernel says of it; every socket's state is led to where its flags say it was going; the job is done
 * again. Then all sockets count as ready, and the events of the last wait are handled (once more, which does no harm).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/accept.h"
#include "ins/app.h"
#include "ins/bell.h"
#include "ins/block.h"
#include "ins/data.h"
#include "ins/dgram.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/loopback.h"
#include "ins/observe.h"
#include "ins/recover.h"
#include "ins/slots.h"
#include "ins/stream.h"
#include "ins/trim.h"
#include "ins/uplink.h"
#include "ins/urgent.h"
#include "ins/verb.h"
#include "ins/xen/front.h"

#define CRASHES_MAX 3     /* in a row, at the same connection */
#define BEYOND      16    /* descriptors that one step can make */
#define FDS_MAX     (1u << 20)

static uint64_t known[FDS_MAX / 64];
static int highest;
static int accepted = -1; /* what the job had in hand */

/* --- unmake --- */

static void forget_fds(struct isock *s)
{
	s->tcp = s->dead = s->bell = s->tomb = s->app_end = s->siren[0] = s->siren[1] = -1;
	s->extra_count = 0;
}

/* The handle of a socket that was to connect again goes back to where it came from. */
static void give_back(struct isock *s)
{
	struct mw_req q;
	struct isock *old;

	memcpy(&q, journal->job.u.request, offsetof(struct mw_req, u));
	old = q.op == MW_OP_AGAIN ? slots_find_asked(q.slot, q.gen) : NULL;
	if (old && old->dead < 0)
		old->dead = s->tcp;
}

static void unmake(struct isock *s)
{
	if (s->gen & 1) {
		if (journal->job.kind == JOB_REQUEST)
			give_back(s);
		mw_store(&shared_of(s)->ins.cookie, (uint64_t)0);
		mw_store_release(&flow_of(s)->id, (uint64_t)0);
		s->gen++;
		mw_store_release(&shared_of(s)->ins.gen, s->gen);
	} else if (s->dead > ins.fd->last) { /* the orphan's that was there before, and not what the job was given */
		close(s->dead);
	}
	forget_fds(s);
	s->flags &= F_DIRTY;
	s->ready = s->unseen = false;
	s->ending = 0;
	slots_state(s, MW_ST_FREE);
}

/* What must not be taken for known: it is made anew. */
static void forget_half(struct isock *s)
{
	if (s->gen & 1 && s->ready && s->unseen)
		s->bell = s->app_end = -1; /* its doorbell was being made */
	if (!(s->gen & 1) && s->ending) {
		slots_state(s, s->ending == ENDING_ORPHAN ? MW_ST_CLOSED : MW_ST_FREE);
		s->ending = 0;
	}
}

/* --- descriptors --- */

static void know(int fd)
{
	if (fd < 0 || (unsigned int)fd >= FDS_MAX)
		return;
	known[fd / 64] |= 1ull << fd % 64;
	if (fd > highest)
		highest = fd;
}

static void know_socket(const struct isock *s)
{
	know(s->dead);
	if (!(s->gen & 1))
		return;
	know(s->tcp);
	know(s->bell);
	know(s->tomb);
	know(s->app_end);
	know(s->siren[0]);
	know(s->siren[1]);
	for (int i = 0; i < s->extra_count; i++)
		know(s->extra[i]);
}

static void know_all(void)
{
	int fds[FDPASS_MAX], n = journal->job.kind != JOB_NONE && journal->job.kind <= JOB_BROKER ? job_fds(fds, FDPASS_MAX) : 0;

	for (int i = 0; i <= ins.fd->last; i++)
		know(i);
	for (int i = 0; i < n; i++)
		know(fds[i]);
	app_know(know);
	know(journal->heir);
	for (uint32_t i = 0; i < observe_header()->slots_high && i < ins.view.slots; i++)
		know_socket(sock_at(i));
}

int recover_highest(void)
{
	int last;

	know_all();
	last = highest + BEYOND;
	memset(known, 0, sizeof(known)); /* as each worker shall find it */
	highest = 0;
	return last;
}

static int option_of(int fd, int name)
{
	int v = -1;
	socklen_t n = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &n) < 0 ? -1 : v;
}

/* Open, and known to nobody: what the job had just been given, or what was to be closed. */
static void take_unknown(int fd)
{
	int domain = option_of(fd, SO_DOMAIN);
	bool ip = domain == AF_INET || domain == AF_INET6, meant = fd == journal->deed.fd;

	if (journal->deed.kind == DEED_ABORT && meant && ip)
		ins.stack->abort(fd);
	else if (!(journal->deed.kind == DEED_CLOSE && meant) && accepted < 0 &&
		 ((journal->job.kind == JOB_ACCEPT && ip) || (journal->job.kind == JOB_CONN && domain == AF_UNIX)))
		accepted = fd;
	else
		close(fd);
}

static void close_unknown(void)
{
	know_all();
	for (int fd = 0; fd <= highest + BEYOND; fd++)
		if (!(known[fd / 64] >> fd % 64 & 1))
			take_unknown(fd);
}

/* --- the deed --- */

static void hand_recover(struct isock *s)
{
	if (ins.door)
		front_hand_recover(s);
	else if (deed_done())
		accept_handed(s);
}

static void late_recover(struct isock *s)
{
	if (deed_done())
		s->flags &= ~F_PENDING;
}

static void finish_deed(void)
{
	static void (*const finish[DEED_KINDS])(struct isock *s) = {
		[DEED_RECV] = data_rx_recover,
		[DEED_SEND] = data_tx_recover,
		[DEED_STRAY] = bell_stray_recover,
		[DEED_TOKEN] = bell_token_recover,
		[DEED_TAKE] = bell_take_recover,
		[DEED_MARKER] = bell_marker_recover,
		[DEED_HAND] = hand_recover,
		[DEED_PULL] = stream_pull_recover,
		[DEED_PUSH] = stream_push_recover,
		[DEED_FILLER] = stream_filler_recover,
		[DEED_LATE] = late_recover,
		[DEED_DGRAM_IN] = dgram_in_recover,
		[DEED_DGRAM_UP] = dgram_in_recover,
		[DEED_DGRAM_OUT] = dgram_out_recover,
		[DEED_DGRAM_OFF] = dgram_out_recover,
	};
	const struct deed *d = &journal->deed;
	struct isock *s = slots_find(d->slot, d->gen);

	if (s && d->kind < DEED_KINDS && finish[d->kind])
		finish[d->kind](s);
	deed_end();
}

/* The job's answer, or its question to the broker, is out: what is left of it is nothing. */
static bool job_is_over(void)
{
	const struct deed *d = &journal->deed;

	return journal->job.kind != JOB_NONE && deed_done() &&
	       (d->kind == DEED_REPLY || (d->kind == DEED_LATE && journal->job.kind == JOB_BROKER));
}

/* --- sockets --- */

static void lead_connection(struct isock *s)
{
	struct mw_flow *f = flow_of(s);
	uint32_t gen = s->gen;

	if (f->end != MW_END_NONE) {
		if (s->state != MW_ST_CLOSED)
			data_fail(s, f->error, f->end);
		return;
	}
	if (s->state == MW_ST_ESTABLISHED && f->listener && (ins.door ? !s->handed_at : s->bell < 0) && !s->ready && !s->unseen) {
		accept_ready(sock_at((uint32_t)f->listener), s); /* between the gate's list and the next */
		return;
	}
	if (s->flags & F_APP_GONE && s->state == MW_ST_ESTABLISHED)
		bell_gone_on(s);
	if (s->gen != gen || s->state == MW_ST_CLOSED)
		return;
	if (s->flags & F_TX_DONE && s->tcp >= 0)
		ins.stack->shutdown_send(s->tcp);
	if (s->flags & F_RX_DONE && !s->unseen && s->state == MW_ST_ESTABLISHED)
		bell_show_fin(s);
	if (s->gen == gen && s->flags & F_FIN_SHOWN && !(s->flags & F_STREAM) && s->bell >= 0)
		shutdown(s->bell, SHUT_WR);
	if (s->gen == gen && s->flags & F_STREAM && s->flags & F_TX_DONE)
		stream_done(s);
}

static void lead(struct isock *s)
{
	uint32_t slot = slot_of(s);

	s->flags &= ~F_RINGING;
	if (s->ending) {
		s->ready = s->unseen = false;
		if (s->ending == ENDING_ORPHAN)
			slots_orphan(slot);
		else
			slots_free(slot);
	} else if (s->type == MW_TYPE_DGRAM) {
		dgram_recover(s);
	} else if (s->state == MW_ST_LISTEN) {
		if (!(s->flags & F_PENDING))
			s->flags |= F_PAUSED; /* and resumed at the end, with what waits in its list */
	} else {
		urgent_recover(s);
		lead_connection(s);
	}
	if (s->gen & 1)
		ready_mark(&ins.view, slot);
}

/* The one whose turn it was: whatever it waited for, it is asked again. */
static void look_again(struct isock *s)
{
	if (s->type == MW_TYPE_DGRAM || s->state == MW_ST_LISTEN || s->state == MW_ST_CLOSED)
		return;
	if (s->flags & F_STREAM && s->bell >= 0)
		stream_recover(s);
	s->flags |= F_WANT_SPACE;
	s->flags &= ~F_TX_BLOCKED;
	mw_store_release(&shared_of(s)->ins.bell_busy, 0u);
	if (s->state == MW_ST_ESTABLISHED) {
		uint32_t gen = s->gen;

		data_rx(s, true);
		if (s->gen == gen)
			data_tx(s);
	}
}

static void lead_all(void)
{
	uint32_t high = observe_header()->slots_high;

	for (uint32_t i = 0; i < high; i++) {
		struct isock *s = sock_at(i);
		uint32_t *lock = &shared_of(s)->app.tx_lock, ours = TRIM_LOCK;

		__atomic_compare_exchange_n(lock, &ours, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
		if (!(s->gen & 1))
			continue;
		journal_at(s);
		loopback_recover(s);
		lead(s);
	}
}

/* --- the whole --- */

static void quarantine(void)
{
	struct isock *s = journal->crash_at ? slots_find(journal->crash_at - 1, journal->crash_gen) : NULL;

	if (journal->crashes < CRASHES_MAX || !s)
		return;
	journal->crashes = 0;
	observe_header()->violations++;
	if (s->type == MW_TYPE_STREAM && s->state != MW_ST_LISTEN && flow_of(s)->end == MW_END_NONE) {
		flow_of(s)->error = ECONNABORTED;
		flow_of(s)->end = MW_END_QUARANTINE;
	}
}

static void lists(void)
{
	uint32_t high = observe_header()->slots_high;

	slots_recover();
	for (uint32_t i = 0; i < high; i++)
		if (sock_at(i)->gen & 1 && sock_at(i)->state == MW_ST_LISTEN)
			gate_recover(sock_at(i));
	block_recover();
	app_recover();
}

static void job_again(uint32_t kind)
{
	if (kind == JOB_ACCEPT && accepted >= 0)
		accept_recover(accepted);
	else if (kind == JOB_CONN && accepted >= 0)
		app_take(accepted);
	else if (kind == JOB_REQUEST)
		app_again();
	else if (kind == JOB_VERB)
		verb_again();
	else if (kind == JOB_BROKER)
		uplink_again();
	job_end();
}

void recover(void)
{
	uint32_t kind = journal->job.kind, high = observe_header()->slots_high;
	struct isock *at = journal->at ? slots_find(journal->at - 1, journal->at_gen) : NULL;
	uint32_t gen = at ? at->gen : 0;

	if (ins.door)
		control_recover();
	if (kind != JOB_ACCEPT && kind != JOB_CONN && !job_taken())
		kind = JOB_NONE;
	if (job_is_over()) {
		journal->making = 0; /* it is whole, and the application knows of it */
		kind = JOB_NONE;
	}
	journal->job.kind = kind;
	if (journal->making)
		unmake(sock_at(journal->making - 1));
	for (uint32_t i = 0; i < high; i++)
		forget_half(sock_at(i));
	close_unknown();
	lists();
	finish_deed();
	quarantine();
	lead_all();
	journal->making = 0;
	journal->job.again = 1;
	job_again(kind);
	if (at && at->gen == gen)
		look_again(at);
	ins.trim_due = true;
	accept_resume_all();
	if (ins.door)
		front_recover();
}
