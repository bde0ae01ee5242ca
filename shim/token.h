/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token.h - what a reader owes the doorbell: asking for a token, taking it back, telling of space. Used inside shim/ only.
 * Trust: as in token.c.
 */
#ifndef MW_SHIM_TOKEN_H
#define MW_SHIM_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

struct mw_ring;
struct sock;

void token_service(struct sock *k);            /* the INS shall look at it */
bool token_rearm(struct sock *k, const struct mw_ring *r, uint64_t cons); /* true when bytes came meanwhile */
void token_behind(struct sock *k, const struct mw_ring *r, uint64_t seen);
void token_again(struct sock *k, const struct mw_ring *r, uint64_t cons, uint64_t seen);
uint32_t token_lowat(struct sock *k);
uint32_t token_least(struct sock *k, uint64_t cons); /* bytes behind `cons` with which the descriptor is readable */
void token_hide(struct sock *k, const struct mw_ring *r, uint64_t cons, uint64_t seen); /* fewer than SO_RCVLOWAT are there */
void token_space(struct sock *k, uint64_t cons);
void token_after_guests(struct sock *k, uint32_t before);
void token_drop(struct sock *k);

#endif
