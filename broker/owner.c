// SPDX-License-Identifier: Apache-2.0
/*
 * owner.c - what telemetry may ask about the process that owns a socket, and do to it; what passes between the telemetries of an application.
 * Trust: the number is the application's word, through a telemetry process that may be compromised. It counts only if it is that
 * of a process in the application's own network namespace; what a caller gains at worst is to interrupt that application.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/owner.h"
#include "broker/inss.h"
#include "broker/tree.h"
#include "lib/fdpass.h"
#include "link/owner.h"

/* Open first, look then: a process that ends in between cannot be taken for the next with its number. */
static int carry_out(const struct owner_ask *m, ino_t netns)
{
	int fd = m->pid > 1 && m->pid <= INT32_MAX ? pidfd_open((pid_t)m->pid, 0) : -1, r = 0;

	if (m->kind != OWNER_RUNNING && m->kind != OWNER_INTERRUPT)
		r = -EINVAL;
	else if (fd < 0 || !tree_in_namespace((pid_t)m->pid, "net", netns))
		r = -ESRCH;
	else if (pidfd_send_signal(fd, m->kind == OWNER_INTERRUPT ? SIGINT : 0, NULL, 0) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

#define PIPE_BYTES (256 << 10) /* more than the text of all metrics: nobody waits for a reader */

static bool tell(int fd, const struct owner_ask *m, int with)
{
	return fdpass_send(fd, m, sizeof(*m), &with, with >= 0, MSG_DONTWAIT) == sizeof(*m);
}

/* One that does not take it is left out. */
static void gather_from(const struct helper *from, int to, const struct owner_ask *m)
{
	const struct owner_ask write = { .kind = OWNER_WRITE };
	struct owner_ask read = *m;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	read.status = 1;
	if (fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) >= 0 && tell(from->up, &write, ends[1]))
		tell(to, &read, ends[0]);
	close(ends[0]);
	close(ends[1]);
}

static int gather(int to, const struct owner_ask *m)
{
	for (size_t i = 0; i < inss_count(); i++) {
		const struct helper *h = &inss_at(i)->telem.helper;

		if (h->pid && h->up != to)
			gather_from(h, to, m);
	}
	return 0;
}

void owner_give_netflow(const struct helper *to, int fd)
{
	const struct owner_ask m = { .kind = OWNER_NETFLOW };

	if (to->pid)
		tell(to->up, &m, fd); /* who does not take it is hung, and gets it when he is started again */
}

/* It stays on the socket until it is answered: a broker that dies meanwhile leaves it to its heir. Telemetry takes one answer. */
bool owner_handle(int fd, ino_t netns)
{
	struct owner_ask m;
	ssize_t n = recv(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	bool good = n == 1; /* one that was started again says that it serves */

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n == sizeof(m)) {
		m.status = m.kind == OWNER_METRICS ? gather(fd, &m) : carry_out(&m, netns);
		good = send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(m);
	}
	return recv(fd, &m, sizeof(m), MSG_DONTWAIT) == n && good;
}
