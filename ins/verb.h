/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verb.h - what an operator has decided, carried out. Used by ins/.
 * Trust: as in verb.c.
 */
#ifndef MW_INS_VERB_H
#define MW_INS_VERB_H

#include "ins/ins.h"

struct verb_msg;

#define VERB_LATER 1 /* carried out in part; verb_answer() when all is done */

int verb_init(void);
void verb_event(void);
void verb_again(void);
void verb_answer(struct verb_msg *m, uint32_t sweep);
uint32_t verb_answered(void);                    /* a worker died of whose late answers that one was given: its sweep + 1, or 0 */
/* Door: a request's MW_VERB_BYTES. 0 with the answer, VERB_LATER, or -errno. */
int verb_asked(const uint8_t *record, uint32_t seq, struct answer *a);
int verb_end(struct isock *s, const struct verb_msg *m);
void verb_acted(struct isock *s, uint32_t verb, uint64_t verdict); /* on that socket: it is noted, and told */

#endif
