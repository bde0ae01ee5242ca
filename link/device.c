// SPDX-License-Identifier: Apache-2.0
/*
 * device.c - see device.h. Raw system calls: libc's names are the shim's.
 * Trust: see there.
 *
 * The device is opened for each socket: no descriptor is kept that a program could close, lose at exec or hand on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kmod/uapi.h"
#include "link/device.h"

#define TYPE_MASK 0xf

bool device_used(void)
{
	static int used = -1;

	if (used < 0)
		used = getenv(DEVICE_ENV) != NULL;
	return used;
}

bool device_makes(int family, int type)
{
	type &= TYPE_MASK;
	return (family == AF_INET || family == AF_INET6) && (type == SOCK_STREAM || type == SOCK_DGRAM);
}

static int device_open(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, MW_DEVICE, O_RDWR | O_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* What open() says of the device is no word that a program expects of socket(). */
static int no_device(int error)
{
	return error == -EACCES || error == -EMFILE || error == -ENFILE || error == -ENOMEM ? error : -ENETDOWN;
}

int device_socket(int family, int type, int protocol)
{
	struct mw_dev_socket s = { family, type & TYPE_MASK, protocol, (unsigned int)type & ~(unsigned int)TYPE_MASK };
	int saved = errno, device = device_open();
	long fd;

	if (device < 0) {
		errno = saved;
		return no_device(device);
	}
	fd = syscall(SYS_ioctl, device, MW_DEV_SOCKET, &s);
	if (fd >= 0 && syscall(SYS_dup3, fd, device, type & SOCK_CLOEXEC) == device) { /* which was the lowest that was free */
		syscall(SYS_close, fd);
		fd = device;
	} else {
		fd = fd < 0 ? -errno : fd;
		syscall(SYS_close, device);
	}
	errno = saved;
	return (int)fd;
}

static int why_not(int error, char *why, size_t why_bytes)
{
	if (error == -ENOENT || error == -ENODEV || error == -ENXIO)
		snprintf(why, why_bytes, "there is no " MW_DEVICE ": load the module first (modprobe mwcomms; `make install-kmod` builds it "
					 "for this kernel)");
	else if (error == -EACCES)
		snprintf(why, why_bytes, "you may not open " MW_DEVICE ": its group (mwcomms) and root may");
	else
		snprintf(why, why_bytes, MW_DEVICE ": %s", strerror(-error));
	return error;
}

int device_check(unsigned int *inss, char *why, size_t why_bytes)
{
	struct mw_dev_version v;
	int fd = device_open(), r = 0;

	if (fd < 0)
		return why_not(fd, why, why_bytes);
	if (syscall(SYS_ioctl, fd, MW_DEV_VERSION, &v) < 0) {
		r = -errno;
		snprintf(why, why_bytes, MW_DEVICE " is not the module's: %s", strerror(-r));
	} else if (v.abi != MW_DEV_ABI) {
		r = -EPROTO;
		snprintf(why, why_bytes, "the module that is loaded speaks version %u of " MW_DEVICE ", and this mw version %u: load that "
					 "of the same release", v.abi, MW_DEV_ABI);
	} else {
		*inss = v.ins;
	}
	syscall(SYS_close, fd);
	return r;
}
