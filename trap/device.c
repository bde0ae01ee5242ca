// SPDX-License-Identifier: Apache-2.0
/*
 * device.c - in a protected virtual machine: socket() is answered with a socket of /dev/mwcomms, and no other call is.
 * Trust: a target's arguments are three numbers, which the device checks.
 *
 * The supervisor opens the device with the user, groups and root of whoever ran `mw run --xen`, whatever its targets have by then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/device.h"
#include "trap/trap.h"

static void refuse(int listener, uint64_t id, int error)
{
	struct seccomp_notif_resp r = { .id = id, .error = error };

	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

/* The descriptor and the answer in one step: the target has both or neither. */
static void give(int listener, uint64_t id, int fd, bool cloexec)
{
	struct seccomp_notif_addfd a = { .id = id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)fd,
					 .newfd_flags = cloexec ? O_CLOEXEC : 0 };

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a) < 0 && errno != ENOENT && errno != EINPROGRESS)
		refuse(listener, id, -errno); /* its table is full */
}

static void answer(int listener)
{
	struct seccomp_notif n = { 0 };
	int type, fd;

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
		return;
	type = (int)n.data.args[1];
	if (!device_makes((int)n.data.args[0], type)) {
		struct seccomp_notif_resp r = { .id = n.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };

		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
		return;
	}
	fd = device_socket((int)n.data.args[0], type, (int)n.data.args[2]);
	if (fd < 0) {
		refuse(listener, n.id, fd);
		return;
	}
	give(listener, n.id, fd, type & SOCK_CLOEXEC);
	close(fd);
}

void serve_device(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int n;

	while ((n = poll(&p, 1, -1)) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && p.revents & POLLIN)
			answer(listener);
		else if (n > 0)
			break; /* nobody is left */
	}
}
