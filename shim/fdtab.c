// SPDX-License-Identifier: Apache-2.0
/*
 * fdtab.c - descriptor to slot: one array look-up for every call of every file.
 * Trust: slots come from checked replies or from the arena by cookie; they are bounded before they are stored.
 *
 * The table is a cache. What a socket is, the kernel knows: its cookie is in the arena, so a process that gets a
 * socket by exec or over a UNIX socket finds it there. 0 is "not ours"; else its place (INS and slot) + 1.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "shim/fdtab.h"
#include "shim/attach.h"
#include "shim/doorbell.h"
#include "shim/fork.h"
#include "shim/libc.h"
#include "shim/roster.h"
#include "shim/sock.h"

static uint32_t tab[FDTAB_MAX];

bool sock_get(int fd, struct sock *k)
{
	uint32_t e;

	if ((uint32_t)fd >= FDTAB_MAX)
		return false;
	e = __atomic_load_n(&tab[fd], __ATOMIC_ACQUIRE);
	if (!e)
		return false;
	sock_at(k, e - 1);
	k->fd = fd;
	return true;
}

void sock_at(struct sock *k, uint32_t place)
{
	k->ins = place >> 16;
	k->slot = place & 0xffff;
	k->s = arena_slot(VIEW(k), k->slot);
}

void fdtab_set(int fd, uint32_t place)
{
	if ((uint32_t)fd < FDTAB_MAX && in_own_process())
		__atomic_store_n(&tab[fd], place + 1, __ATOMIC_RELEASE);
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

bool fdtab_has(uint32_t ins)
{
	for (uint32_t fd = 0; fd < FDTAB_MAX; fd++) {
		uint32_t e = __atomic_load_n(&tab[fd], __ATOMIC_ACQUIRE);

		if (e && (e - 1) >> 16 == ins)
			return true;
	}
	return false;
}

static bool find_in(uint32_t ins, uint64_t cookie, uint32_t *place)
{
	const struct mw_view *v = &shim_views[ins];
	uint32_t high = mw_load_acquire(MW_WORD(&arena_header(v)->slots_high));

	for (uint32_t i = 0; i < high && i < v->slots; i++) {
		if (mw_load_acquire(MW_WORD(&arena_slot(v, i)->ins.cookie)) == cookie) {
			*place = PLACE(ins, i);
			return true;
		}
	}
	return false;
}

bool fdtab_find(uint64_t cookie, uint32_t *place)
{
	if (attach() < 0)
		return false;
	for (uint32_t i = 0; i < roster_high(); i++)
		if (roster_serves(i) && attach_to(i) == 0 && find_in(i, cookie, place))
			return true;
	return false;
}

void fdtab_adopt(int fd)
{
	uint64_t cookie;
	uint32_t place;

	if (doorbell_cookie(fd, &cookie) == 0 && fdtab_find(cookie, &place))
		fdtab_set(fd, place);
}

bool fdtab_again(struct sock *k)
{
	uint64_t cookie;
	uint32_t place;

	if (SLOT_INS(k, state) != MW_ST_LISTEN || doorbell_cookie(k->fd, &cookie) < 0 || !fdtab_find(cookie, &place) ||
	    place >> 16 == k->ins)
		return false;
	fdtab_set(k->fd, place);
	sock_at(k, place);
	return true;
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
