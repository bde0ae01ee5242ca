/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - what an INS knows and must not forget when its worker dies: named blocks of a memory file. Used by ins/.
 * Trust: it is the INS's own; the broker holds it for the INS's next program (upgrade.c), which checks names and sizes.
 *
 * A block holds no pointer that is used again: another program has it at another address.
 */
#ifndef MW_INS_STATE_H
#define MW_INS_STATE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Counts up with every change of what another program's INS would find: of what a block, the arena, telemetry's memory, or a
 * record of the broker's means. Blocks that have other names or sizes are noticed without it.
 */
#ifndef STATE_VERSION
#define STATE_VERSION 2u
#endif

/* Makes it, before all blocks, for so many slots: its descriptor, or -errno. */
int state_make(uint32_t slots);
/* Another program's. 0; -EPROTO: of another version, state_misfit() says which; -errno. */
int state_open(int fd);
uint32_t state_slots(void);

/* Zeroes, on pages of their own; untouched ones cost nothing. Made by the keeper, before its first worker. Of another program's state:
 * as that left it. NULL: no room, or it is not there in that size. */
void *state_block(const char *name, size_t bytes);
/* All blocks that it has were asked for. */
int state_complete(void);
/* What it could not do, for a person; empty: nothing. */
const char *state_misfit(void);

#endif
