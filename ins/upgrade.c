// SPDX-License-Identifier: Apache-2.0
/*
 * upgrade.c - a running INS moves to another program: the mw-ins that is on the disk now. Nothing that it holds is lost.
 * Trust: the other program is started by the broker; the state is the INS's own.
 *
 *   1. The broker starts the next program with the state, the arena and telemetry's memory. That one checks that it can go on from
 *      them, gives up its privileges, and says so; else the old one never knows.
 *   2. The broker gives the old one the other end of the next one's socket. Its worker ends when its loop is round.
 *   3. Keeper to keeper: all descriptors, each to the number that it had. So the state is right as it is, and epoll, which knows
 *      what it watches by file and number, too. In batches, each taken before the next: descriptors on their way count against
 *      one limit for all INSs.
 *   4. The next keeper starts its worker as after any worker's death (recover.c).
 *
 * Until ALL is answered with HAVE the old keeper can go on by itself, with a new worker: it says STAY first, and the next one
 * ends. Then it says GO and ends. It says neither when it was killed: then nobody else has what the next one has, which goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/recover.h"
#include "ins/starter.h"
#include "ins/upgrade.h"
#include "ins/uplink.h"
#include "link/broker.h"

#define BATCH       253 /* the kernel's most of a message */
#define PATIENCE_MS 2000

enum { HAND_FDS = 1, HAND_TAKEN, HAND_ALL, HAND_HAVE, HAND_GO, HAND_STAY };

struct hand {
	uint32_t kind, count;
	int32_t number[BATCH]; /* of the descriptors that come along, ascending */
};

static struct hand hand;
static union {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(BATCH * sizeof(int))];
} control;

/* --- who goes --- */

void upgrade_ask(int fd)
{
	if (journal->heir && journal->heir != fd)
		close(journal->heir);
	journal->heir = fd;
}

void upgrade_due(void)
{
	if (journal->heir)
		_exit(EXIT_MOVED);
}

static bool say(int fd, uint32_t kind)
{
	return send(fd, &kind, sizeof(kind), MSG_NOSIGNAL) == sizeof(kind);
}

static bool hears(int fd, uint32_t kind)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint32_t said;

	return poll(&p, 1, PATIENCE_MS) == 1 && recv(fd, &said, sizeof(said), MSG_DONTWAIT) == sizeof(said) && said == kind;
}

static bool give_batch(int to)
{
	struct iovec iov = { &hand, sizeof(hand) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	hand.kind = HAND_FDS;
	fdpass_give(&m, &control, hand.number, (int)hand.count);
	return sendmsg(to, &m, MSG_NOSIGNAL) == sizeof(hand) && hears(to, HAND_TAKEN);
}

static bool give_all(int to)
{
	int highest = recover_highest();

	hand.count = 0;
	for (int fd = 0; fd <= highest; fd++) {
		if (fd == to || fcntl(fd, F_GETFD) < 0)
			continue;
		hand.number[hand.count++] = fd;
		if (hand.count == BATCH) {
			if (!give_batch(to))
				return false;
			hand.count = 0;
		}
	}
	return !hand.count || give_batch(to);
}

bool upgrade_give(void)
{
	int to = journal->heir;
	bool goes = give_all(to) && say(to, HAND_ALL) && hears(to, HAND_HAVE) && say(to, HAND_GO);

	struct broker_msg stays = { .kind = BM_UPGRADE, .status = -ECANCELED };

	if (!goes)
		say(to, HAND_STAY);
	journal->heir = 0;
	close(to);
	if (!goes)
		uplink_send(&stays);
	return goes;
}

/* --- who comes --- */

/* Our own, wherever they have to make room: from the old one, to the broker, and what has just come. */
enum { OLD, UP, CAME };
static int own[CAME + BATCH] = { INS_HEIR_FD, INS_BROKER_FD };

_Noreturn static void give_up(void)
{
	_exit(EXIT_LOST); /* the old one finds that out, and goes on */
}

static void make_room(int number, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (own[i] != number)
			continue;
		own[i] = fcntl(number, F_DUPFD_CLOEXEC, number + 1);
		if (own[i] < 0)
			own[i] = fcntl(number, F_DUPFD_CLOEXEC, 0);
		if (own[i] < 0)
			give_up();
	}
}

static void place(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		int *fd = &own[CAME + i], number = hand.number[i];

		if (*fd == number)
			continue;
		make_room(number, CAME + count);
		if (dup3(*fd, number, O_CLOEXEC) < 0)
			give_up();
		close(*fd);
		*fd = -1;
	}
}

/* One record; false: the old one is gone. */
static bool receive(void)
{
	struct iovec iov = { &hand, sizeof(hand) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(own[OLD], &m, MSG_CMSG_CLOEXEC);
	int came;

	if (n < (ssize_t)sizeof(hand.kind))
		return false;
	came = fdpass_take(&m, own + CAME, BATCH);
	if (hand.kind != HAND_FDS)
		return true;
	if (n != sizeof(hand) || hand.count > BATCH || came != (int)hand.count)
		give_up();
	place(hand.count);
	return true;
}

void upgrade_take(void)
{
	struct broker_msg m = { .kind = BM_READY };
	bool all = false;

	for (int fd = INS_HEIR_FD + 1; fd <= INS_TELE_FD; fd++)
		close(fd); /* they come again, as the old one's */
	uplink_send(&m);
	while (receive() && hand.kind != HAND_GO) {
		all = hand.kind == HAND_ALL;
		if (hand.kind == HAND_STAY || (all && starter_pair() < 0))
			give_up(); /* from here on nothing more may be had that may be refused */
		say(own[OLD], all ? HAND_HAVE : HAND_TAKEN);
	}
	if (!all)
		give_up();
	journal->heir = 0;
	mw_store(&observe_header()->upgrades, observe_header()->upgrades + 1);
	close(own[OLD]);
	m.kind = BM_UPGRADED;
	fdpass_send(own[UP], &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
	close(own[UP]);
}
