/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observe.h - what is seen of every socket: flow record, log, events. Used by ins/.
 * Trust: as in observe.c.
 */
#ifndef MW_INS_OBSERVE_H
#define MW_INS_OBSERVE_H

#include "ins/ins.h"

int observe_init(uint32_t slots);               /* makes the telemetry memory, ins.tele, or takes it over */
struct mw_tele *observe_header(void);
void observe_new(struct isock *s);              /* begins its flow record */
void observe_end(struct isock *s);              /* ends it, and logs it */
void observe_stack(struct isock *s);            /* which socket of the stack's it is */
void observe_rx(struct isock *s, uint64_t bytes);
void observe_tx(struct isock *s, uint64_t bytes);
void observe_head(struct isock *s, uint64_t from); /* the bytes of the rx ring from there on; not when it is decided */
void observe(struct isock *s, uint32_t kind, uint64_t extra); /* an event, MW_EV_, if anybody wants events */
void observe_wake(void);

#endif
