// SPDX-License-Identifier: Apache-2.0
/*
 * space.c - the address space that we take where it is limited: see lib/space.h.
 * Trust: none. With the lock of attach.c held, but for the constructor.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/space.h"
#include "chan/wire.h"
#include "lib/space.h"

static size_t used; /* bytes of what was mapped, whole pages */
static uint8_t *reserved;
static size_t before; /* of them, mapped when there was no reservation: they are not in it */

int space_reserve(void)
{
	void *p;

	if (reserved)
		return 0;
	p = mmap(NULL, SPACE_BYTES - used, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	reserved = p;
	before = used;
	return 0;
}

static size_t pages(size_t bytes)
{
	return (bytes + MW_PAGE - 1) & ~(size_t)(MW_PAGE - 1);
}

/* One behind the other in the reservation. */
void *space_map(int fd, size_t bytes, bool write)
{
	bool fits = reserved && pages(bytes) <= SPACE_BYTES - used;
	void *base = mmap(fits ? reserved + used - before : NULL, bytes, PROT_READ | (write ? PROT_WRITE : 0),
			  MAP_SHARED | MAP_NORESERVE | (fits ? MAP_FIXED : 0), fd, 0);

	if (base != MAP_FAILED)
		used += pages(bytes);
	return base;
}

/* The latest. */
void space_unmap(void *base, size_t bytes)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	used -= pages(bytes);
	if (reserved && base == reserved + used - before)
		(void)mmap(base, pages(bytes), PROT_NONE, flags, -1, 0);
	else
		munmap(base, bytes);
}

bool space_empty(void *base, size_t bytes)
{
	return mmap(base, pages(bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == base;
}

void space_restore(void)
{
	struct rlimit l;

	if (syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, &l) < 0 || (!space_limited(l.rlim_cur) && !space_limited(l.rlim_max)))
		return;
	l.rlim_cur = space_lower(l.rlim_cur);
	l.rlim_max = space_lower(l.rlim_max);
	syscall(SYS_prlimit64, 0, RLIMIT_AS, &l, NULL);
}

/* After exec the limit is there, and our part of it not taken yet. Who is above his own limit already is held to that. */
__attribute__((constructor(102))) static void start(void)
{
	struct rlimit l;

	if (syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, &l) == 0 && space_limited(l.rlim_cur) && space_reserve() < 0)
		space_restore();
}
