// SPDX-License-Identifier: Apache-2.0
/* redirect.c - preloaded: IP sockets from /dev/mwcomms, and nothing else; what the shim does with `mw run --xen`, at its least. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kmod/uapi.h"

int socket(int family, int type, int protocol)
{
	int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	struct mw_dev_socket s = { .family = family, .type = type & 0xf, .protocol = protocol, .flags = (unsigned int)type & ~0xfu };
	int device, fd, e;

	if ((family != AF_INET && family != AF_INET6) || (s.type != SOCK_STREAM && s.type != SOCK_DGRAM))
		return real(family, type, protocol);
	device = open(MW_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -1;
	fd = ioctl(device, MW_DEV_SOCKET, &s);
	e = errno;
	close(device);
	errno = e;
	return fd;
}
