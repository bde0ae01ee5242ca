/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvm_store.h - what a protected machine reads and writes in XenStore beside its module. Used by pvm.c.
 * Trust: addresses are an INS's own word: shown, and told on, when they are addresses.
 */
#ifndef MW_BROKER_PVM_STORE_H
#define MW_BROKER_PVM_STORE_H

#include "chan/wire.h"

#define PVM_ADDRESS_BYTES 46 /* INET6_ADDRSTRLEN */

void pvm_store_open(void); /* without Xen there is none, and nothing of the rest does anything */
/* The first address of that INS domain, of the family (MW_FAMILY_), or "". */
void pvm_store_address(uint32_t domain, uint16_t family, char text[PVM_ADDRESS_BYTES]);
/* The key /mw/pvm/netflow: "ADDRESS:PORT", or empty. Written when it has changed; a failure is said once. */
void pvm_store_netflow(const char *address, uint16_t port);

#endif
