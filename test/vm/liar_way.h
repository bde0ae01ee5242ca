/* SPDX-License-Identifier: Apache-2.0 */
/* liar_way.h - see liar_way.c. Included by liar.c. */
#ifndef MW_TEST_VM_LIAR_WAY_H
#define MW_TEST_VM_LIAR_WAY_H

#include "ins/xen/front.h"

const struct shape *way_meet(bool xen);        /* once a process on Xen; NULL: nobody is there */
void way_up(void);                             /* all is mapped */
void *way_map(const uint32_t *refs, uint32_t pages); /* or it ends */
void way_notify(void);
int way_fd(void);
bool way_goes_on(void);                        /* takes news; false: given up */
void way_part(void);

#endif
