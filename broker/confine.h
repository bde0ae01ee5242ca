/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.h - what a socket of the host's network can still do once it is an INS's. Used inside broker/ only.
 * Trust: whoever gets the socket may be compromised, and may call bind, connect and listen on it again.
 *
 * Linux lets the holder of a TCP socket end what it does and begin anew: connect(AF_UNSPEC), then bind, listen or connect to
 * anywhere in the namespace that it was made in. What we set here cannot be undone without a capability, and an INS has none.
 * Each returns 0 or -errno.
 */
#ifndef MW_BROKER_CONFINE_H
#define MW_BROKER_CONFINE_H

/* It, and what it accepts, can never connect to anybody. */
int confine_listener(int fd);

/* A UDP one: it reaches loopback only. Linux prefers it to one of the same address that is bound to no device. */
int confine_datagrams(int fd);

/* It reaches loopback only, and can never be connected to. */
int confine_connector(int fd);

#endif
