/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysctl.h - integers under /proc/sys, of the network namespace that the caller is in.
 * Trust: paths come from our own code.
 */
#ifndef MW_BROKER_SYSCTL_H
#define MW_BROKER_SYSCTL_H

/* `path` is printf-like and relative to /proc/sys; names in it are taken as they are (an interface's name holds no '/'). */
int sysctl_read(int *value, const char *path, ...) __attribute__((format(printf, 2, 3)));
int sysctl_write(int value, const char *path, ...) __attribute__((format(printf, 2, 3)));

#endif
