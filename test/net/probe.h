/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - the programs of the lab: servers, clients, and one that wants a port that is held. Used by net_test.c.
 * A server answers every connection or datagram with the address that it sees as its peer, and its own port: "192.0.2.2 80".
 * A client's functions leave the caller in the host. An error is -errno; nothing within 1.5 s is -ETIMEDOUT.
 */
#ifndef MW_TEST_NET_PROBE_H
#define MW_TEST_NET_PROBE_H

#include <stdint.h>
#include <sys/types.h>

enum { PROBE_TEXT_BYTES = 96 };	/* an answer, with its terminator */

/* A server process of uid 65534 in that namespace, listening when this returns, on TCP and UDP of both families. */
pid_t probe_serve(int ns, int ports, const uint16_t *port);
pid_t probe_serve_web(int ns);	/* on 80 and 8000 */

/* A socket bound to that port of every address, where the caller is: it listens if it is a stream. -1 if it cannot. */
int probe_server_socket(int family, int type, uint16_t port);

/* A socket made in ns and connected; source may be NULL. */
int probe_connect(int ns, int type, const char *source, const char *dest, uint16_t port);

/* The server's answer. */
int probe_get(int ns, int type, const char *source, const char *dest, uint16_t port, char out[PROBE_TEXT_BYTES]);

/* The server that `dest`:port reaches from ns must say `want`; must be refused so. */
void probe_expect(int ns, const char *dest, uint16_t port, const char *want);
void probe_expect_error(int ns, const char *dest, uint16_t port, int want);

/* A connection of the host to port 8080 of dest must come out of that listener, from that peer. */
void probe_expect_accept(int listener, const char *dest, const char *peer);

/* Binds as rudely as a program can, where the caller is: -errno, or 0. */
int probe_bind(int family, const char *addr, uint16_t port);

/* The port must be in use on every address of both families, loopback's too. */
void probe_expect_held(uint16_t port);

#endif
