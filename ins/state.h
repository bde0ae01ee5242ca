/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - memory of what an INS knows and must not forget when its worker dies: each worker finds it as the last one left it.
 * Used by ins/.
 * Trust: it is the INS's own; nobody else ever has it.
 */
#ifndef MW_INS_STATE_H
#define MW_INS_STATE_H

#include <stddef.h>
#include <stdint.h>

/* Before all blocks, for so many slots. 0 or -errno. */
int state_init(uint32_t slots);
/* Zeroes, on pages of their own; untouched ones cost nothing. Made by the keeper, before its first worker. NULL: no room. */
void *state_block(size_t bytes);

#endif
