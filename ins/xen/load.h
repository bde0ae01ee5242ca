/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - how busy this INS domain is, for whoever spreads connections. Used by ins/xen/meet.c.
 * Trust: telemetry is the INS's own; it can only make itself look busy or idle.
 */
#ifndef MW_INS_XEN_LOAD_H
#define MW_INS_XEN_LOAD_H

#include <stddef.h>

#include "chan/tele.h"

/* The key `load`, to be asked once a second: "CPU:CONNECTIONS:RATE", hex. Of the whole machine's processor time, in thousandths; sockets that
 * are connections; new ones a second. */
void load_text(const struct mw_tele_view *v, const struct mw_tele *t, char *text, size_t room);

#endif
