// SPDX-License-Identifier: Apache-2.0
/*
 * roster.c - which INSs there are, and which of them a new socket goes to.
 * Trust: the roster is the broker's word, by way of an INS: numbers in it are bounded, and a lie costs a needless attempt.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/roster.h"
#include "chan/wire.h"
#include "shim/fork.h"
#include "shim/space.h"

static struct mw_roster *roster;
static uint32_t turn; /* new sockets so far */

/* An INS alone in the world may have none. */
void roster_map(int fd)
{
	struct stat st;
	void *base;

	if (roster || fstat(fd, &st) < 0 || st.st_size != (off_t)MW_PAGE)
		return;
	base = space_map(fd, MW_PAGE, false);
	if (base != MAP_FAILED)
		roster = base;
}

bool roster_known(void)
{
	return roster != NULL;
}

uint32_t roster_high(void)
{
	uint32_t n = roster ? mw_load(&roster->high) : 1;

	return n < MW_INS_MAX ? n : MW_INS_MAX;
}

uint32_t roster_home(void)
{
	uint32_t n = roster ? mw_load(&roster->home) : 0;

	return n < MW_INS_MAX ? n : 0;
}

static uint8_t state_of(uint32_t ins)
{
	return roster ? mw_load(&roster->state[ins]) : ins ? MW_INS_NONE : MW_INS_UP;
}

bool roster_serves(uint32_t ins)
{
	return state_of(ins) != MW_INS_NONE;
}

/* Processes begin at different ones. */
uint32_t roster_choose(void)
{
	uint32_t n = roster_high(), up = 0, left;

	if (n == 1)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		up += state_of(i) == MW_INS_UP;
	if (!up)
		return roster_home();
	left = (__atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) + (uint32_t)own_pid()) % up;
	for (uint32_t i = 0; i < n; i++)
		if (state_of(i) == MW_INS_UP && left-- == 0)
			return i;
	return roster_home();
}

/* The broker may not know yet that it has ended. */
uint32_t roster_fallback(uint32_t ins)
{
	uint32_t n = roster_high();

	for (uint32_t i = 1; i < n; i++)
		if (state_of((ins + i) % n) == MW_INS_UP)
			return (ins + i) % n;
	return roster_home();
}
