// SPDX-License-Identifier: Apache-2.0
/*
 * urgent.c - TCP's urgent data: one byte of the stream, the mark, that can be taken by itself.
 * Trust: where the application reads is its word; it decides only what that application is told.
 *
 * In the stack SO_OOBINLINE is always on, so that the byte lies in the ring among the others, and the slot says where.
 * The application's own setting is a flag, which its reads obey: they stop before the mark, and unless it is inline, skip
 * the byte. Whether the byte was taken by itself is known here alone. As in Linux there is one mark: a newer one takes
 * its place. Then the older byte is an ordinary one, unless reading stands at it: then it is dropped.
 *
 * While the ring is full the byte is still in the stack ("ahead"), and is taken from there.
 * On the stream lane the byte is passed on as urgent data of the doorbell, whose reader's kernel does the rest.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/data.h"
#include "ins/stream.h"
#include "ins/urgent.h"
#include "ins/xen/front.h"
#include "lib/fdpass.h"

uint64_t urgent_behind_dropped(const struct isock *s, uint64_t at)
{
	return at - s->drop_from < s->drop_to - s->drop_from ? s->drop_to : at;
}

static uint64_t reading_at(const struct isock *s)
{
	return urgent_behind_dropped(s, s->flags & F_STREAM ? s->rx_cons : mw_load_acquire(&shared_of(s)->app.rx_cons));
}

static bool known(const struct isock *s)
{
	return s->rx_urgent && !(s->flags & F_URGENT_AHEAD);
}

/* The words of bytes to drop come first: who sees the new mark sees them too. */
static void new_mark(struct isock *s, uint64_t behind)
{
	struct mw_slot_ins *m = &shared_of(s)->ins;
	uint64_t old = s->rx_urgent - 1;

	if (known(s) && !(s->flags & F_URGENT_INLINE) && reading_at(s) == old) {
		if (s->drop_to != old)
			mw_store_release(&m->rx_drop_from, s->drop_from = old);
		mw_store_release(&m->rx_drop_to, s->drop_to = old + 1);
	}
	s->flags &= ~(F_URGENT_AHEAD | F_URGENT_TAKEN);
	mw_store_release(&m->rx_urgent, s->rx_urgent = behind);
	if (ins.door)
		front_mark(s);
}

/* SIGURG to whom the application named. On the stream lane the doorbell does it. */
static void sound(const struct isock *s)
{
	char c;

	if (s->siren[0] >= 0 && !(s->flags & F_STREAM) && send(s->siren[1], "", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		recv(s->siren[0], &c, 1, MSG_DONTWAIT);
}

static void ahead(struct isock *s)
{
	new_mark(s, MW_NEVER);
	s->flags |= F_URGENT_AHEAD;
	sound(s);
}

void urgent_reached(struct isock *s)
{
	bool foretold = s->flags & F_URGENT_AHEAD;
	bool taken = foretold && s->flags & F_URGENT_TAKEN && ins.stack->recv_urgent(s->tcp, true) == -EINVAL;

	if (s->rx_urgent == s->rx_prod + 1)
		return; /* the read before this one failed */
	new_mark(s, s->rx_prod + 1);
	if (taken)
		s->flags |= F_URGENT_TAKEN;
	else if (!foretold)
		sound(s);
}

void urgent_announced(struct isock *s)
{
	bool waits = ins.stack->at_mark(s->tcp) || ins.stack->recv_urgent(s->tcp, true) >= 0;

	if (waits && (!(s->flags & F_URGENT_AHEAD) || s->flags & F_URGENT_TAKEN)) /* taken: so this is a newer one */
		ahead(s);
}

void urgent_inline_was_set(struct isock *s)
{
	int yes = 1, on = 0;
	uint32_t n = sizeof(on);

	ins.stack->getopt(stack_handle(s), SOL_SOCKET, SO_OOBINLINE, &on, &n);
	s->flags = (s->flags & ~F_URGENT_INLINE) | (on ? F_URGENT_INLINE : 0);
	mw_store_release(&shared_of(s)->ins.urgent_inline, (uint32_t)on);
	for (int i = -1; i < s->extra_count; i++)
		ins.stack->setopt(i < 0 ? stack_handle(s) : s->extra[i], SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes));
	s->rx_told = MW_NEVER; /* as with SO_RCVLOWAT: what is readable now is to be told anew */
}

/* The stack says it, and so what a value without room looks like. */
int urgent_inline_get(struct isock *s, void *value, uint32_t *bytes)
{
	int yes = 1, no = 0, h = stack_handle(s), r;
	bool lies = s->type != MW_TYPE_DGRAM && !(s->flags & F_URGENT_INLINE);

	if (lies)
		ins.stack->setopt(h, SOL_SOCKET, SO_OOBINLINE, &no, sizeof(no));
	r = ins.stack->getopt(h, SOL_SOCKET, SO_OOBINLINE, value, bytes);
	if (lies)
		ins.stack->setopt(h, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes));
	return r;
}

uint32_t urgent_hidden(struct isock *s)
{
	uint64_t from = mw_load_acquire(&shared_of(s)->app.rx_cons), at = urgent_behind_dropped(s, from);
	uint32_t n = at - from <= ins.view.rx_bytes ? (uint32_t)(at - from) : 0;

	return n + (known(s) && at == s->rx_urgent - 1 && !(s->flags & F_URGENT_INLINE));
}

uint32_t urgent_before(const struct isock *s, uint32_t n)
{
	uint64_t before = s->rx_urgent - 1 - s->rx_cons;

	return known(s) && before < n ? (uint32_t)before : n;
}

bool urgent_at_mark(struct isock *s)
{
	if (s->tcp >= 0)
		data_rx(s, true);
	if (known(s) && reading_at(s) == s->rx_urgent - 1)
		return true;
	return s->tcp >= 0 && reading_at(s) == s->rx_prod && ins.stack->at_mark(s->tcp); /* announced, and next to come */
}

/* As tcp_recv_urg(). The stack's answer comes first: it may have a newer one than the ring. */
int urgent_take(struct isock *s, bool peek, int32_t *byte)
{
	struct mw_span at[2];
	struct mw_ring r;
	int c = -EINVAL;

	if (s->flags & F_URGENT_INLINE)
		return -EINVAL;
	if (s->tcp >= 0)
		data_rx(s, true);
	if (s->tcp >= 0)
		c = ins.stack->recv_urgent(s->tcp, peek);
	if (c >= 0) {
		if (!(s->flags & F_URGENT_AHEAD) || s->flags & F_URGENT_TAKEN)
			ahead(s);
	} else if (c != -EINVAL) {
		*byte = -1;
		return c == -ENODATA ? 0 : c;
	} else {
		if (!known(s) || s->flags & F_URGENT_TAKEN || s->rx_urgent - 1 - reading_at(s) >= ins.view.rx_bytes)
			return -EINVAL;
		if (s->tcp < 0 && !flow_of(s)->peer_fin_ns)
			return -ENOTCONN;
		arena_rx(&ins.view, slot_of(s), &r);
		ring_spans(&r, s->rx_urgent - 1, 1, at);
		c = *MW_WORD(at[0].base);
	}
	s->flags |= peek ? 0 : F_URGENT_TAKEN;
	*byte = c;
	return 0;
}

/* --- SIGURG comes when the byte is announced, which it may be long before it arrives: of that the stack signals us --- */

static volatile sig_atomic_t announced;
static int self;

static void on_signal(int sig)
{
	int saved = errno; /* NOLINT(bugprone-signal-handler,cert-sig30-c): a thread's own, and put back */

	(void)sig;
	announced = 1;
	if (write(ins.fd->kick, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0)
		errno = saved; /* it is awake already */
}

void urgent_init(void)
{
	self = getpid();
	signal(SIGURG, on_signal);
}

void urgent_signalled(void)
{
	if (!announced)
		return;
	announced = 0;
	for (uint32_t i = 0; i < ins.view.slots; i++) {
		struct isock *s = sock_at(i);

		if (s->siren[0] >= 0 && s->tcp >= 0 && !(s->flags & (F_URGENT_AHEAD | F_STREAM)) &&
		    ins.stack->recv_urgent(s->tcp, true) == -EAGAIN)
			ahead(s);
	}
}

void urgent_recover(struct isock *s)
{
	if (s->siren[0] < 0 || s->tcp < 0)
		return;
	ins.stack->ioctl(s->tcp, FIOSETOWN, &self);
	announced = 1; /* it may have been, to the worker that died */
}

/* Where it belongs is known by what is written already; it goes there when the bytes before it have. */
int urgent_send(struct isock *s, uint8_t byte)
{
	if (!(s->flags & F_STREAM) || s->state != MW_ST_ESTABLISHED || s->tcp < 0)
		return -EINVAL;
	data_tx(s);
	if (s->urgent_due >= 0)
		return -EAGAIN;
	s->urgent_due = byte;
	s->urgent_at = stream_written(s);
	data_tx(s);
	return 0;
}

int urgent_owner(struct isock *s, int fd)
{
	char c;
	int other = -1, count = 1;
	ssize_t n = fdpass_recv(fd, &c, 1, &other, &count, MSG_DONTWAIT);

	if (n < 0 || count != 1)
		return n < 0 ? (int)n : -EPROTO;
	for (int i = 0; i < 2; i++)
		if (s->siren[i] >= 0)
			close(s->siren[i]);
	s->siren[0] = other;
	s->siren[1] = fd;
	if (s->tcp >= 0)
		ins.stack->ioctl(s->tcp, FIOSETOWN, &self);
	return 0;
}
