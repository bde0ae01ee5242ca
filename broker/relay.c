// SPDX-License-Identifier: Apache-2.0
/*
 * relay.c - see relay.h.
 * Trust: as in the header.
 *
 * One order at a time, in the order in which they came: the module answers when the INS has, or when it gives that up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/relay.h"
#include "kmod/uapi.h"
#include "link/telem.h"

#define SOCK_FD   3
#define DEVICE_FD 4

MW_ASSERT(sizeof(struct mw_telem_verb) == sizeof(struct verb_msg) + VERB_VALUE_MAX, "a record has room for each verb");

static size_t answer_bytes(const struct verb_msg *m)
{
	bool value = m->status == 0 && m->bytes <= VERB_VALUE_MAX && (m->verb == VERB_GET || (m->verb == VERB_GATE && m->slot != VERB_ALL));

	return sizeof(*m) + (value ? m->bytes : 0);
}

/* False: the INS, or telemetry's broker, is gone. */
static bool pass_one(void)
{
	struct mw_telem_verb t = { 0 };
	struct verb_msg m;
	ssize_t n = recv(SOCK_FD, &t, sizeof(t), MSG_TRUNC);
	uint64_t seq;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return false;
	if (n < (ssize_t)sizeof(m) || n > (ssize_t)sizeof(t))
		return true; /* nonsense, which has no answer on a host either */
	memcpy(&m, &t, sizeof(m));
	seq = m.seq;
	if (ioctl(DEVICE_FD, MW_TELEM_VERB, &t) < 0) {
		if (errno == ENODEV)
			return false;
		m.status = -errno;
		memcpy(&t, &m, sizeof(m));
	}
	memcpy(&m, &t, sizeof(m));
	m.seq = seq;
	memcpy(&t, &m, sizeof(m));
	send(SOCK_FD, &t, answer_bytes(&m), MSG_NOSIGNAL);
	return true;
}

_Noreturn static void relay(pid_t parent)
{
	struct pollfd p[] = { { .fd = SOCK_FD, .events = POLLIN }, { .fd = DEVICE_FD } };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents || (p[0].revents && !pass_one()))
			_exit(0);
	}
}

pid_t relay_start(int sock, int device)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid < 0 ? -errno : pid;
	/* out of the way first: either may lie where the other is to be */
	sock = fcntl(sock, F_DUPFD, DEVICE_FD + 1);
	device = fcntl(device, F_DUPFD, DEVICE_FD + 1);
	if (sock < 0 || device < 0 || dup2(sock, SOCK_FD) < 0 || dup2(device, DEVICE_FD) < 0)
		_exit(1);
	close_range(DEVICE_FD + 1, ~0u, 0);
	relay(parent);
}
