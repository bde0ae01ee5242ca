/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.h - connections that wait outside until they have sent something worth the application's time. Used by ins/.
 * Trust: as in gate.c.
 */
#ifndef MW_INS_GATE_H
#define MW_INS_GATE_H

#include "ins/ins.h"

struct verb_msg;

int gate_init(uint32_t slots);
void gate_recover(struct isock *l);
bool gate_rule(const char *text);              /* --gate, of the command line */
void gate_listen(struct isock *l);             /* a new listener: what its gate is */
bool gate_hold(struct isock *l, struct isock *s); /* false: it may go on at once */
void gate_received(struct isock *s);           /* a held one, bytes or an end: s may be gone afterwards */
void gate_forget(struct isock *s);             /* a held one that ends */
void gate_close(struct isock *l);              /* drops all that it holds */
bool gate_make_room(void);                     /* drops whoever is held longest; false: nobody is */
int gate_change(struct verb_msg *m, const void *value); /* of a port; m->number is filled */
int gate_tell(const struct isock *l, struct verb_msg *m, void *value);
int gate_wait_ms(void);                        /* to the next deadline; -1: there is none */
void gate_tick(void);

#endif
