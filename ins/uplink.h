/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uplink.h - to and from the broker, and how an INS ends. Used by ins/.
 * Trust: as in uplink.c.
 */
#ifndef MW_INS_UPLINK_H
#define MW_INS_UPLINK_H

#include "ins/ins.h"

struct broker_msg;

#define EXIT_ENDED 0 /* the worker's status, and then the INS's: the broker has ended it */
#define EXIT_LOST  3 /* ... is gone, or speaks nonsense */
#define EXIT_MOVED 6 /* the worker's: to be handed over; the INS's: another program has it. xen/front.h has more */
void uplink_send(const struct broker_msg *m);
void uplink_pass(const struct broker_msg *m, const uint8_t *value, uint32_t n); /* with a value behind it */
void uplink_tell(const struct broker_msg *m, const int *fds, int count);
/* What the job waits for now: an answer of the broker's. fds: two, or -1; value: n bytes behind the record. */
void uplink_ask(const struct broker_msg *m, const uint8_t *value, uint32_t n, const int fds[2]);
void uplink_event(void);
void uplink_again(void);

#endif
