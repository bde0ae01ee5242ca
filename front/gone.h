/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gone.h - INSs that left the registry: when they do not answer either, the host forgets what it led to them. Used by frontend.c.
 * Trust: that an entry went says nothing of the INS (its mirror may have ended, its broker died), so the INS is asked: what works goes on.
 *
 * Without this a client that takes the port of a connection which died with its INS, and never was ended, is led there for days.
 */
#ifndef MW_FRONT_GONE_H
#define MW_FRONT_GONE_H

#include "front/member.h"

enum { GONE_BEATS = 30 }; /* heartbeats without an answer */

/* Its entry went. */
void gone_add(const struct member *m, int64_t now_ms);

/* Whom the found table, or NULL, leads to; those that the registry knows are taken off again by gone_back. */
void gone_found(const char *table, int64_t now_ms);

/* Its addresses are an INS's again. */
void gone_back(const struct entry *e);

/* Asks them, and forgets. */
void gone_due(int64_t now_ms, int64_t heartbeat_ms);

void gone_stop(void);

#endif
