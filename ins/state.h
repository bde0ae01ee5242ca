/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - what an INS knows and must not forget when its worker dies: named blocks of a memory file. Used by ins/.
 * Trust: the file is the INS's own; nobody else ever has it. An INS that takes it over checks each block's size.
 *
 * A block holds no pointers: whoever maps the file finds it anywhere.
 */
#ifndef MW_INS_STATE_H
#define MW_INS_STATE_H

#include <stddef.h>
#include <stdint.h>

/* Counts up when blocks of the same sizes come to mean something else. */
#define STATE_VERSION 1u

/* Makes the file, for so many slots. Its descriptor, or -errno. */
int state_make(uint32_t slots);
/* Maps another INS's. 0, or -EPROTO: of another version; -errno. */
int state_open(int fd);
uint32_t state_slots(void);

/* The block of that name: zeroes when it is new. NULL: there is one of another size, or no room. */
void *state_block(const char *name, size_t bytes);
/* Which block did not fit, after a NULL. */
const char *state_misfit(void);

#endif
