/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suspect.h - why a connection deserves a closer look: a pure function of its record. Used by telem/ and tests.
 * Trust: as in flow.h.
 */
#ifndef MW_TELEM_SUSPECT_H
#define MW_TELEM_SUSPECT_H

#include "telem/flow.h"

#define SUSPECT_AFTER_NS 1000000000u

#define SUSPECT_NO_BYTE     0x01u /* accepted, and the peer has said nothing */
#define SUSPECT_HEAD        0x02u /* the first header is still not complete */
#define SUSPECT_UNREAD      0x04u /* bytes wait for the application, and none follow */
#define SUSPECT_UNSENT      0x08u /* bytes wait for the peer, and none go */
#define SUSPECT_ZERO_WINDOW 0x10u /* the peer's window is closed */
#define SUSPECT_RETRANSMIT  0x20u /* the peer does not answer */
#define SUSPECT_SILENT      0x40u /* no byte either way: sampled as often, yet no suspicion */
#define SUSPECT_NUM         7

/* SUSPECT_ bits; each of what lasts longer than SUSPECT_AFTER_NS, but for the kernel's own words. */
uint32_t suspect(const struct flow *f, uint64_t now_ns);

#endif
