// SPDX-License-Identifier: Apache-2.0
/*
 * telem.c - the module's device for telemetry: what it refuses, what it shows, and what stays when an INS goes.
 * usage: telem wrong | telem hold | telem events | telem list
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chan/arena.h"
#include "chan/tele.h"
#include "kmod/uapi.h"

static const char *said(long r)
{
	return r < 0 ? strerrorname_np(errno) : "done";
}

static int device(int flags)
{
	return open(MW_TELEM_DEVICE, flags | O_CLOEXEC);
}

static uint64_t first(int fd)
{
	struct mw_telem_ins t = { 0 };

	return ioctl(fd, MW_TELEM_NEXT, &t) < 0 ? 0 : t.serial;
}

static int bound(uint32_t part, int flags)
{
	int fd = device(flags);
	struct mw_telem_bind b = { .serial = first(fd), .part = part };

	if (fd < 0 || ioctl(fd, MW_TELEM_BIND, &b) < 0) {
		printf("no view: %s\n", strerrorname_np(errno));
		return -1;
	}
	return fd;
}

static void mapped(const char *what, int fd, size_t bytes, int protection, int flags, off_t at)
{
	void *p = mmap(NULL, bytes, protection, flags, fd, at);

	printf("%s: %s\n", what, p == MAP_FAILED ? strerrorname_np(errno) : "mapped");
	if (p != MAP_FAILED)
		munmap(p, bytes);
}

static void bind_wrongly(void)
{
	int fd = device(O_RDONLY | O_NONBLOCK);
	struct mw_telem_bind b = { .serial = first(fd), .part = 7 };
	char text[8];

	mapped("not bound", fd, 4096, PROT_READ, MAP_SHARED, 0);
	printf("read, not bound: %s\n", said(read(fd, text, 8)));
	printf("seek, not bound: %s\n", said(lseek(fd, 0, SEEK_END)));
	printf("part: %s\n", said(ioctl(fd, MW_TELEM_BIND, &b)));
	b.part = 0;
	b.pad = 1;
	printf("padding: %s\n", said(ioctl(fd, MW_TELEM_BIND, &b)));
	b = (struct mw_telem_bind){ .serial = 1ull << 60 };
	printf("no such INS: %s\n", said(ioctl(fd, MW_TELEM_BIND, &b)));
	printf("bind, bad pointer: %s\n", said(ioctl(fd, MW_TELEM_BIND, (void *)8)));
	printf("next, bad pointer: %s\n", said(ioctl(fd, MW_TELEM_NEXT, (void *)8)));
	printf("no such request: %s\n", said(ioctl(fd, _IO('w', 99))));
	b.serial = first(fd);
	printf("bind: %s\n", said(ioctl(fd, MW_TELEM_BIND, &b)));
	printf("bind again: %s\n", said(ioctl(fd, MW_TELEM_BIND, &b)));
	printf("read, short: %s\n", said(read(fd, text, 7)));
	printf("read, no events yet: %s\n", said(read(fd, text, 8)));
	close(fd);
}

static void order_wrongly(void)
{
	struct mw_telem_verb v = { { 0 } };
	int fd = bound(MW_TELEM_TELE, O_RDONLY);

	printf("verb, for reading: %s\n", said(ioctl(fd, MW_TELEM_VERB, &v)));
	close(fd);
	fd = device(O_RDWR);
	printf("verb, not bound: %s\n", said(ioctl(fd, MW_TELEM_VERB, &v)));
	close(fd);
	fd = bound(MW_TELEM_ARENA, O_RDWR);
	printf("verb, bad pointer: %s\n", said(ioctl(fd, MW_TELEM_VERB, (void *)8)));
	memset(&v, 0xff, sizeof(v));
	printf("verb, nonsense: %s\n", said(ioctl(fd, MW_TELEM_VERB, &v)));
	close(fd);
}

static void map_wrongly(int flags)
{
	int fd = bound(MW_TELEM_TELE, flags);
	size_t bytes = (size_t)lseek(fd, 0, SEEK_END);
	void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	printf("%s: %s\n", flags == O_RDWR ? "for writing too" : "for reading", p == MAP_FAILED ? strerrorname_np(errno) : "mapped");
	printf("mprotect: %s\n", said(mprotect(p, bytes, PROT_READ | PROT_WRITE)));
	printf("mprotect, execute: %s\n", said(mprotect(p, bytes, PROT_READ | PROT_EXEC)));
	mapped("writable", fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	mapped("private", fd, bytes, PROT_READ, MAP_PRIVATE, 0);
	mapped("private, writable", fd, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	mapped("at an offset", fd, 4096, PROT_READ, MAP_SHARED, 4096);
	mapped("too much", fd, bytes + 4096, PROT_READ, MAP_SHARED, 0);
	mapped("one page", fd, 4096, PROT_READ, MAP_SHARED, 0);
	close(fd);
}

static int wrong(void)
{
	bind_wrongly();
	order_wrongly();
	map_wrongly(O_RDONLY);
	map_wrongly(O_RDWR);
	return 0;
}

/* Waits until the INS has gone; all that was mapped is there still. */
static int hold(void)
{
	int fd = bound(MW_TELEM_TELE, O_RDONLY), arena = bound(MW_TELEM_ARENA, O_RDONLY);
	size_t bytes = (size_t)lseek(fd, 0, SEEK_END), fixed = 12288 + 384 * 64;
	uint8_t *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0), *a = mmap(NULL, fixed, PROT_READ, MAP_SHARED, arena, 0), sum = 0;
	struct pollfd w = { .fd = fd };
	uint64_t n;

	if (p == MAP_FAILED || a == MAP_FAILED)
		return 1;
	printf("held\n");
	fflush(stdout);
	while (poll(&w, 1, 60000) <= 0 || !(w.revents & POLLHUP))
		if (!w.revents)
			return 2;
	for (size_t i = 0; i < bytes; i += 64)
		sum = (uint8_t)(sum + p[i]);
	for (size_t i = 0; i < fixed; i += 64)
		sum = (uint8_t)(sum + a[i]);
	printf("gone; magic %d; read %zd; again: ", ((struct mw_tele *)(void *)p)->magic == MW_TELE_MAGIC, read(fd, &n, 8));
	printf("%s\n", mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? strerrorname_np(errno) : "mapped");
	fflush(stdout);
	sleep(sum ? 3 : 4);
	return 0;
}

/* How many there are, each time that there are more. */
static int events(void)
{
	int fd = bound(MW_TELEM_TELE, O_RDONLY);
	uint64_t n;

	while (read(fd, &n, sizeof(n)) == sizeof(n)) {
		printf("%llu\n", (unsigned long long)n);
		fflush(stdout);
	}
	return 0;
}

static int list(void)
{
	int fd = device(O_RDONLY);
	struct mw_telem_ins t = { 0 };
	struct pollfd w = { .fd = fd, .events = POLLIN };

	while (ioctl(fd, MW_TELEM_NEXT, &t) == 0)
		printf("%llu: %u%s\n", (unsigned long long)t.serial, t.domain, t.drains ? " drains" : "");
	printf("changed since: %d\n", poll(&w, 1, 0));
	fflush(stdout);
	printf("changed: %d\n", poll(&w, 1, 60000));
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	return !strcmp(what, "wrong") ? wrong() : !strcmp(what, "hold") ? hold() : !strcmp(what, "events") ? events() : list();
}
