/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option.h - the application's socket options and ioctls. Used by ins/.
 * Trust: as in option.c.
 */
#ifndef MW_INS_OPTION_H
#define MW_INS_OPTION_H

#include "ins/ins.h"

struct mw_req_option;

int option_init(void);
int option_set(struct isock *s, const struct mw_req_option *o, const uint8_t *value, int fd);
int option_get(struct isock *s, const struct mw_req_option *o, const uint8_t *value, struct answer *a);
int option_ioctl(struct isock *s, const struct mw_req_option *o, const uint8_t *value, struct answer *a);
void option_was_set(struct isock *s, int level, int name);
void option_show_lowat(struct isock *s);            /* to the shim */
void option_copy(int from, int to);                 /* what a second listener must have too */

#endif
