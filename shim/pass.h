/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass.h - a message that may carry descriptors out of the application. Used inside shim/ only.
 * Trust: none.
 */
#ifndef MW_SHIM_PASS_H
#define MW_SHIM_PASS_H

#include <sys/socket.h>

/* Before `via`, which is not one of ours, sends the message: 0, or -EOPNOTSUPP for what is of no use to its receiver. */
int pass_prepare(int via, const struct msghdr *theirs);

#endif
