// SPDX-License-Identifier: Apache-2.0
/*
 * odd.c - preloaded into mw and what it starts: a clock that somebody sets, and a kernel module of another version.
 * Trust: the test.
 *
 * MW_ODD_CLOCK names a file with a number of seconds (int64) by which CLOCK_REALTIME is ahead; it may change at any time.
 * MW_ODD_ABI is the version that /dev/mwcomms has.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "kmod/uapi.h"

static const volatile int64_t *ahead_s;
static int (*real_clock)(clockid_t id, struct timespec *t);
static long (*real_syscall)(long number, ...);
static int device = -1;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("MW_ODD_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*ahead_s), PROT_READ, MAP_SHARED, fd, 0);

	ahead_s = at == MAP_FAILED ? NULL : at;
	if (fd >= 0)
		close(fd);
	*(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
	*(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int r = real_clock ? real_clock(id, t) : -1;

	if (r == 0 && ahead_s && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += *ahead_s;
	return r;
}

time_t time(time_t *out)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone)
{
	struct timespec t = { 0 };

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	*out = (struct timeval){ .tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000 };
	return 0;
}

/* The device is /dev/null, and says that it is of that version. */
long syscall(long number, ...)
{
	const char *abi = getenv("MW_ODD_ABI");
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (abi && number == SYS_openat && !strcmp((const char *)a[1], MW_DEVICE)) {
		device = open("/dev/null", O_RDWR | O_CLOEXEC);
		return device;
	}
	if (abi && number == SYS_ioctl && a[0] == device && (unsigned long)a[1] == MW_DEV_VERSION) {
		*(struct mw_dev_version *)a[2] = (struct mw_dev_version){ .abi = (unsigned int)atoi(abi) };
		return 0;
	}
	return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
