/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.h - the socket table: making, finding, ending. Used by ins/.
 * Trust: as in slots.c.
 */
#ifndef MW_INS_SLOTS_H
#define MW_INS_SLOTS_H

#include "ins/ins.h"

int slots_init(uint32_t count);
void slots_recover(void);
struct isock *slots_new(uint32_t *slot);        /* NULL: the table is full */
struct isock *slots_new_for(uint16_t type, uint32_t *slot);
bool slots_spent(void);                         /* there is none for a connection */
uint32_t slots_spares(void);                    /* door: for connections */
void slots_spare(uint32_t slot);                /* door: it has rings now */
void slots_unspare(uint32_t slot);              /* ... and loses them */
void slots_free(uint32_t slot);                 /* logs the flow, closes what is open */
void slots_abort(struct isock *s);              /* its handle is closed with a reset */
void slots_orphan(uint32_t slot);               /* the same, but what the application may still ask for stays */
struct isock *slots_find(uint32_t slot, uint32_t gen); /* NULL unless it is in use with that generation */
struct isock *slots_find_asked(uint32_t slot, uint32_t gen); /* an orphan that answers for options too */
void slots_state(struct isock *s, uint32_t state);
void slots_show_names(struct isock *s);        /* to the application, when its flow record has others */
void slots_names(struct isock *s, const struct mw_addr *peer);

#endif
