/* SPDX-License-Identifier: GPL-2.0 */
/*
 * control.h - requests to an INS and its replies. Used by kmod/.
 * Trust: a reply that mwk_control() gives was checked against its request.
 */
#ifndef MW_KMOD_CONTROL_H
#define MW_KMOD_CONTROL_H

#include <linux/types.h>

struct mw_reply;
struct mw_req;
struct mwk_ins;

/* The INS's status, or -ENETDOWN, -EINTR (killed), -ENOMEM. q's value follows; `back` has room for u.option.have bytes. */
int mwk_control(struct mwk_ins *i, struct mw_req *q, u32 op, const void *value, struct mw_reply *r, void *back);
bool mwk_control_replies(struct mwk_ins *i); /* the worker: takes all; false: quarantined */
void mwk_control_fail_all(struct mwk_ins *i);

#endif
