/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvm.h - `mw xen serve`: telemetry and orders of a protected virtual machine, whose INSs are other machines. Used by ctl/.
 * Trust: the module says which INSs there are; what they wrote is checked where it is used.
 */
#ifndef MW_BROKER_PVM_H
#define MW_BROKER_PVM_H

#include "broker/broker.h"

#define PVM_NAME "xen" /* in the registry, unless --name says another */

/* Until a signal ends it. The exit status of `mw xen serve`. */
int pvm_serve(struct run_options *o);

#endif
