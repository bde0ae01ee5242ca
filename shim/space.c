// SPDX-License-Identifier: Apache-2.0
/*
 * space.c - the address space that we take where it is limited: see lib/space.h.
 * Trust: none. With the lock of attach.c held, but for the constructor.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/space.h"
#include "shim/shim.h"

static size_t arena_bytes_mapped;
static void *reserved;

int space_reserve(void)
{
	void *p;

	if (reserved)
		return 0;
	p = mmap(NULL, SPACE_BYTES - arena_bytes_mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	reserved = p;
	return 0;
}

void *space_map(int fd, size_t bytes)
{
	int fixed = reserved && !arena_bytes_mapped && bytes < SPACE_BYTES ? MAP_FIXED : 0;
	void *base = mmap(fixed ? reserved : NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | fixed, fd, 0);

	if (base != MAP_FAILED)
		arena_bytes_mapped = (bytes + MW_PAGE - 1) & ~(size_t)(MW_PAGE - 1);
	return base;
}

void space_unmap(void *base)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	if (base == reserved)
		mmap(base, arena_bytes_mapped, PROT_NONE, flags, -1, 0);
	else
		munmap(base, arena_bytes_mapped);
	arena_bytes_mapped = 0;
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
