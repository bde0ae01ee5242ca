// SPDX-License-Identifier: Apache-2.0
/*
 * upgrade_fuzz.c - libFuzzer target: an old keeper of mw-ins that gives all that it has to a next one, which answers anything; and a next one
 * that is given what an old one said, as it was or with lies in it.
 * Trust: none. Without lies the one goes if and only if the other has all, each descriptor at the number that it had, and no other. After
 * lies the next one ends or serves.
 *
 * Descriptors are numbers in a table of our own: the next one may put something anywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/recover.h"
#include "ins/starter.h"
#include "ins/upgrade.h"
#include "ins/uplink.h"
#include "lib/fdpass.h"
#include "link/broker.h"
#include "test/fuzz/input.h"

#define HIGHEST 700
#define NUMBERS 1024 /* room for all, and a batch on its way */
#define TO      17   /* the old one's number of the socket between the two */

_Noreturn static void model_exit(int status);
static int model_close(int fd);
static int model_fcntl(int fd, int what, ...);
static int model_dup3(int from, int to, int flags);
static int model_poll(struct pollfd *p, nfds_t n, int ms);
static ssize_t model_recv(int fd, void *to, size_t n, int flags);
static ssize_t model_recvmsg(int fd, struct msghdr *m, int flags);
static ssize_t model_send(int fd, const void *from, size_t n, int flags);
static ssize_t model_sendmsg(int fd, const struct msghdr *m, int flags);
static ssize_t model_fdpass_send(int fd, const void *bytes, size_t n, const int *fds, int count, int flags);

#define _exit       model_exit
#define close       model_close
#define fcntl       model_fcntl
#define dup3        model_dup3
#define poll        model_poll
#define recv        model_recv
#define recvmsg     model_recvmsg
#define send        model_send
#define sendmsg     model_sendmsg
#define fdpass_send model_fdpass_send
#include "ins/upgrade.c"

#define RECORDS 16

enum thing { NOTHING, BETWEEN, UPLINK, ITS_OWN, FIRST_OF_OLD }; /* behind a number */

static struct journal state;
struct journal *journal = &state;
static struct mw_tele header;

static struct input *choices;
static jmp_buf ended;
static int status; /* of who has ended, or -1 */
static int *table, of_old[NUMBERS], of_next[NUMBERS];

static struct record {
	struct hand hand;
	size_t bytes;
	int count;
	int thing[BATCH];
} records[RECORDS];
static size_t given, taken; /* by the old one, by the next one */
static uint32_t answers;   /* of the next one's that fit */
static bool lied, has_stayed, has_all, no_pair;

/* --- what a keeper has beside it --- */

int recover_highest(void)
{
	return HIGHEST;
}

struct mw_tele *observe_header(void)
{
	return &header;
}

int starter_pair(void)
{
	return no_pair ? -EMFILE : 0;
}

void uplink_send(const struct broker_msg *m)
{
	must(m->kind == BM_READY || (m->kind == BM_UPGRADE && m->status == -ECANCELED));
	has_stayed |= m->kind == BM_UPGRADE;
}

/* --- the kernel --- */

static void model_exit(int s)
{
	status = s;
	longjmp(ended, 1);
}

static bool is_open(int fd)
{
	return fd >= 0 && fd < NUMBERS && table[fd] != NOTHING;
}

static int fails(int e)
{
	errno = e;
	return -1;
}

static int lowest(int from)
{
	while (from < NUMBERS && table[from] != NOTHING)
		from++;
	return from < NUMBERS ? from : fails(EMFILE);
}

static int model_close(int fd)
{
	if (!is_open(fd))
		return fails(EBADF);
	table[fd] = NOTHING;
	return 0;
}

static int model_fcntl(int fd, int what, ...)
{
	va_list ap;
	int from, to;

	must(what == F_GETFD || what == F_DUPFD_CLOEXEC);
	va_start(ap, what);
	from = what == F_DUPFD_CLOEXEC ? va_arg(ap, int) : 0;
	va_end(ap);
	if (!is_open(fd))
		return fails(EBADF);
	if (what == F_GETFD)
		return 0;
	to = from < 0 ? fails(EINVAL) : lowest(from);
	if (to >= 0)
		table[to] = table[fd];
	return to;
}

static int model_dup3(int from, int to, int flags)
{
	must(flags == O_CLOEXEC);
	if (!is_open(from) || to < 0 || to >= NUMBERS)
		return fails(EBADF);
	if (from == to)
		return fails(EINVAL);
	table[to] = table[from];
	return to;
}

static int model_poll(struct pollfd *p, nfds_t n, int ms)
{
	must(n == 1 && ms == PATIENCE_MS && is_open(p->fd) && table[p->fd] == BETWEEN);
	return next_byte(choices) < 250;
}

/* What the next one answers the old one. */
static ssize_t model_recv(int fd, void *to, size_t n, int flags)
{
	uint32_t right = records[given - 1].hand.kind == HAND_ALL ? HAND_HAVE : HAND_TAKEN;
	uint8_t how = next_byte(choices);

	must(n == sizeof(right) && flags == MSG_DONTWAIT && is_open(fd) && table[fd] == BETWEEN);
	if (how > 250)
		right = how > 253 ? next_u32(choices) : how % 8;
	memcpy(to, &right, n);
	return how == 250 ? 0 : how == 249 ? fails(ECONNRESET) : (ssize_t)n;
}

static struct record *next_record(void)
{
	must(given < RECORDS);
	memset(&records[given], 0, sizeof(records[given]));
	return &records[given++];
}

static ssize_t model_send(int fd, const void *from, size_t n, int flags)
{
	uint32_t kind;

	must(n == sizeof(kind) && flags == MSG_NOSIGNAL && is_open(fd) && table[fd] == BETWEEN);
	memcpy(&kind, from, n);
	if (table == of_old) {
		struct record *r = next_record();

		r->hand.kind = kind;
		r->bytes = n;
	} else {
		must(taken && kind == (records[taken - 1].hand.kind == HAND_ALL ? HAND_HAVE : HAND_TAKEN));
		answers++;
	}
	return (ssize_t)n;
}

static ssize_t model_sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct record *r = next_record();
	int fds[BATCH];
	struct msghdr copy = *m;

	must(table == of_old && is_open(fd) && table[fd] == BETWEEN && flags == MSG_NOSIGNAL && m->msg_iovlen == 1);
	r->bytes = m->msg_iov->iov_len;
	must(r->bytes == sizeof(r->hand));
	memcpy(&r->hand, m->msg_iov->iov_base, r->bytes);
	r->count = fdpass_take(&copy, fds, BATCH);
	must(r->count > 0 && r->count == (int)r->hand.count);
	for (int i = 0; i < r->count; i++) {
		must(is_open(fds[i]) && fds[i] != fd && fds[i] == r->hand.number[i]);
		r->thing[i] = table[fds[i]];
	}
	return (ssize_t)r->bytes;
}

static ssize_t model_recvmsg(int fd, struct msghdr *m, int flags)
{
	struct record *r = &records[taken];
	int fds[BATCH], count = 0;

	must(table == of_next && is_open(fd) && table[fd] == BETWEEN && flags == MSG_CMSG_CLOEXEC);
	must(m->msg_iovlen == 1 && m->msg_iov->iov_len == sizeof(r->hand) && m->msg_controllen >= CMSG_SPACE(sizeof(fds)));
	m->msg_controllen = 0;
	if (taken == given)
		return 0;
	taken++;
	memcpy(m->msg_iov->iov_base, &r->hand, r->bytes);
	while (count < r->count && (fds[count] = lowest(0)) >= 0) {
		table[fds[count]] = r->thing[count];
		count++;
	}
	fdpass_give(m, m->msg_control, fds, count);
	return (ssize_t)r->bytes;
}

static ssize_t model_fdpass_send(int fd, const void *bytes, size_t n, const int *fds, int count, int flags)
{
	const struct broker_msg *m = bytes;

	must(n == sizeof(*m) && m->kind == BM_UPGRADED && !fds && !count && flags == MSG_DONTWAIT);
	must(is_open(fd) && table[fd] == UPLINK);
	has_all = true;
	return (ssize_t)n;
}

/* --- who goes --- */

static void fill_old(struct input *in)
{
	uint32_t seed = next_u32(in);
	int last = (int)(next_u32(in) % (HIGHEST + 1)), gaps = next_byte(in);

	memset(of_old, 0, sizeof(of_old));
	for (int fd = 0; fd <= last; fd++) {
		seed = seed * 1103515245 + 12345;
		if ((int)(seed >> 16 & 255) >= gaps)
			of_old[fd] = FIRST_OF_OLD + fd;
	}
	of_old[TO] = BETWEEN;
	of_old[TO + 1] = ITS_OWN;
}

/* True: it ends, and the next one is all that there is. */
static bool old_gives(struct input *in)
{
	bool goes;

	table = of_old;
	given = 0;
	has_stayed = false;
	state.heir = 0;
	fill_old(in);
	upgrade_due(); /* nobody has asked */
	upgrade_ask(TO + 1);
	upgrade_ask(TO); /* another one, who takes its place */
	must(!is_open(TO + 1));
	if (setjmp(ended) == 0)
		upgrade_due();
	must(status == EXIT_MOVED);
	goes = upgrade_give();
	must(!state.heir && !is_open(TO) && goes != has_stayed && given);
	must(records[given - 1].hand.kind == (goes ? HAND_GO : HAND_STAY));
	return goes;
}

/* --- lies --- */

static void lie_in(struct input *in, struct record *r)
{
	uint8_t how = next_byte(in), i = next_byte(in);

	if (how & 1)
		r->hand.kind = next_byte(in) % 8;
	if (how & 2)
		r->hand.count = (uint32_t)next_lie(in, r->hand.count);
	if (how & 4)
		r->hand.number[i % BATCH] = how & 8 ? (int32_t)next_u32(in) : (int32_t)(next_u32(in) % NUMBERS);
	if (how & 16)
		r->bytes = next_byte(in) % 2 ? sizeof(r->hand) : next_byte(in);
	if (how & 32)
		r->count = i % (BATCH + 1);
	for (int j = 0; j < r->count; j++)
		r->thing[j] = r->thing[j] ? r->thing[j] : ITS_OWN;
}

static void lie(struct input *in)
{
	uint8_t which = next_byte(in);

	lied = true;
	if (which & 128)
		given = which % (given + 1); /* the old one is gone */
	else
		lie_in(in, &records[which % given]);
}

/* --- who comes --- */

static void fill_next(void)
{
	memset(of_next, 0, sizeof(of_next));
	for (int fd = 0; fd <= INS_TELE_FD; fd++)
		of_next[fd] = fd == INS_BROKER_FD ? UPLINK : fd == INS_HEIR_FD ? BETWEEN : ITS_OWN;
	own[OLD] = INS_HEIR_FD;
	own[UP] = INS_BROKER_FD;
	memset(&hand, 0, sizeof(hand));
}

/* True: it serves. */
static bool next_takes(void)
{
	table = of_next;
	taken = answers = 0;
	has_all = false;
	status = -1;
	fill_next();
	state.heir = TO; /* as the old one's state says */
	if (setjmp(ended) == 0)
		upgrade_take();
	must(status == -1 || status == EXIT_LOST);
	must(has_all == (status == -1));
	return has_all;
}

static void same_descriptors(void)
{
	for (int fd = 0; fd < NUMBERS; fd++)
		must(of_next[fd] == of_old[fd] || (!of_old[fd] && of_next[fd] == ITS_OWN && fd < INS_BROKER_FD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	uint64_t upgrades = header.upgrades;
	bool goes, serves;

	choices = &in;
	lied = false;
	goes = old_gives(&in);
	no_pair = next_byte(&in) & 1;
	for (uint8_t lies = next_byte(&in) % 8; lies && given; lies--)
		lie(&in);
	serves = next_takes();
	must(header.upgrades == upgrades + serves && (!serves || !state.heir));
	if (lied)
		return 0;
	must(serves == (goes && !no_pair));
	must(answers == (no_pair ? answers : (uint32_t)given - 1));
	if (serves)
		same_descriptors();
	return 0;
}
