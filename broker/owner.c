// SPDX-License-Identifier: Apache-2.0
/*
 * owner.c - what telemetry may ask about the process that owns a socket, and do to it.
 * Trust: the number is the application's word, through a telemetry process that may be compromised. It counts only if it is that
 * of a process in the application's own network namespace; what a caller gains at worst is to interrupt that application.
 */
#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/owner.h"
#include "broker/tree.h"
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

/* It stays on the socket until it is answered: a broker that dies meanwhile leaves it to its heir. Telemetry takes one answer. */
bool owner_handle(int fd, ino_t netns)
{
	struct owner_ask m;
	ssize_t n = recv(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_PEEK);
	bool good = n == 1; /* one that was started again says that it serves */

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n == sizeof(m)) {
		m.status = carry_out(&m, netns);
		good = send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(m);
	}
	return recv(fd, &m, sizeof(m), MSG_DONTWAIT) == n && good;
}
