/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h - sockets in order, in a list that the next worker can make whole. Used by ins/.
 * Trust: as in list.c.
 */
#ifndef MW_INS_LIST_H
#define MW_INS_LIST_H

#include "ins/ins.h"

#define LIST_EMPTY ((struct list){ NO_SLOT, NO_SLOT, 0 })
void list_append(struct list *q, struct isock *s);
void list_remove(struct list *q, struct isock *s);
void list_recover(struct list *q, bool (*is_member)(const struct isock *s, const struct isock *l), const struct isock *l);

#endif
