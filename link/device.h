/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - sockets of /dev/mwcomms, in a protected virtual machine: who uses it and how. Used by broker/, shim/ and trap/.
 * Trust: the device is the kernel's. That a process uses it is its environment's word; the worst is a socket that it may have anyway.
 */
#ifndef MW_LINK_DEVICE_H
#define MW_LINK_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#define DEVICE_ENV "MW_XEN" /* in the environment of what `mw run --xen` started, whatever its value is */

/* Asked once; the answer stays. */
bool device_used(void);

/* Is such a socket the device's? All of the Internet's that programs send data by. Raw ones are the kernel's own, and reach nothing. */
bool device_makes(int family, int type);

/* As socket(): the lowest free descriptor, or -errno. ENETDOWN: there is no device, or no INS. */
int device_socket(int family, int type, int protocol);

/* Can sockets be made? 0, or -errno with a line for the person in `why`. *inss: those that serve now. */
int device_check(unsigned int *inss, char *why, size_t why_bytes);

#endif
