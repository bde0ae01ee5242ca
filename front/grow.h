/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grow.h - more and fewer INSs on this host: what scale.c finds needed is asked of the broker, one thing at a time. Used by frontend.c.
 * Trust: the load is what INSs say of themselves (scale.h); the broker is ours.
 */
#ifndef MW_FRONT_GROW_H
#define MW_FRONT_GROW_H

#include "front/front.h"
#include "front/member.h"

void grow_init(const struct front_options *o);

/* The broker's answer comes there; -1: none is waited for. */
int grow_fd(void);
/* It may have come, or be late. */
void grow_turn(int64_t now_ms);

/* Asks for what is needed now, if anything is, and nothing is asked for yet. here: this host's name in entries. */
void grow_decide(const struct member *members, size_t count, const char *here, int64_t now_ms);

void grow_stop(void);

#endif
