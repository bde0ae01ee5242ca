// SPDX-License-Identifier: Apache-2.0
/*
 * fdtab.c - descriptor to slot: one array look-up for every call of every file.
 * Trust: slots come from checked replies or from the arena by cookie; they are bounded before they are stored.
 *
 * The table is a cache. What a socket is, the kernel knows: its cookie is in the arena, so a process that gets a
 * socket by exec or over a UNIX socket finds it there. 0 is "not ours"; else slot + 1.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "shim/libc.h"
#include "shim/shim.h"

static uint32_t tab[FDTAB_MAX];

bool sock_get(int fd, struct sock *k)
{
	uint32_t e;

	if ((uint32_t)fd >= FDTAB_MAX)
		return false;
	e = __atomic_load_n(&tab[fd], __ATOMIC_ACQUIRE);
	if (!e)
		return false;
	k->fd = fd;
	k->slot = e - 1;
	k->s = arena_slot(&shim_view, e - 1);
	return true;
}

void fdtab_set(int fd, uint32_t slot)
{
	if ((uint32_t)fd < FDTAB_MAX && in_own_process())
		__atomic_store_n(&tab[fd], slot + 1, __ATOMIC_RELEASE);
}

void fdtab_clear(int fd)
{
	if ((uint32_t)fd < FDTAB_MAX && tab[fd] && in_own_process())
		__atomic_store_n(&tab[fd], 0, __ATOMIC_RELEASE);
}

void fdtab_clear_from(unsigned int first, unsigned int last)
{
	for (unsigned int fd = first; fd <= last && fd < FDTAB_MAX; fd++)
		if (tab[fd])
			fdtab_clear((int)fd);
}

void fdtab_copy(int from, int to)
{
	uint32_t e;

	if ((uint32_t)from >= FDTAB_MAX || (uint32_t)to >= FDTAB_MAX)
		return;
	e = __atomic_load_n(&tab[from], __ATOMIC_ACQUIRE);
	if (e != tab[to] && in_own_process())
		__atomic_store_n(&tab[to], e, __ATOMIC_RELEASE);
}

void fdtab_adopt(int fd)
{
	uint64_t cookie;
	uint32_t high;

	if (doorbell_cookie(fd, &cookie) < 0 || attach() < 0)
		return;
	high = mw_load_acquire(MW_WORD(&arena_header(&shim_view)->slots_high));
	for (uint32_t i = 0; i < high && i < shim_view.slots; i++) {
		struct mw_slot __peer *s = arena_slot(&shim_view, i);

		if (mw_load_acquire(MW_WORD(&s->ins.cookie)) == cookie) {
			fdtab_set(fd, i);
			return;
		}
	}
}

/* At start only: opendir and atoi are safe there. */
void fdtab_scan(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			fdtab_adopt(atoi(e->d_name));
	closedir(d);
}
