/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h - the address space that we take where it is limited: see lib/space.h. Used by shim/ and trap/.
 * Trust: as in space.c.
 */
#ifndef MW_SHIM_SPACE_H
#define MW_SHIM_SPACE_H

#include <stdbool.h>
#include <stddef.h>

int space_reserve(void);                   /* 0, also when it has been done, or -ENOMEM */
void *space_map(int fd, size_t bytes, bool write); /* an arena, the roster; MAP_FAILED with errno */
void space_unmap(void *base, size_t bytes);
bool space_empty(void *base, size_t bytes);  /* zeros take the place of what was mapped, and it is let go */
void space_restore(void);                  /* the limit that the program knows, for one that has no shim */

#endif
