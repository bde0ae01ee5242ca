// SPDX-License-Identifier: Apache-2.0
/*
 * via.c - preloaded: socket() for IPv4 and IPv6 is the module's. What the shim does with a device, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kmod/uapi.h"

int socket(int family, int type, int protocol)
{
	struct mw_dev_socket s = { family, type & 0xf, protocol, (unsigned)type & ~0xfu };
	long device, fd;

	if (family != AF_INET && family != AF_INET6)
		return (int)syscall(SYS_socket, family, type, protocol);
	device = syscall(SYS_openat, AT_FDCWD, MW_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -1;
	fd = syscall(SYS_ioctl, device, MW_DEV_SOCKET, &s);
	syscall(SYS_close, device);
	return (int)fd;
}
