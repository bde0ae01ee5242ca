/* SPDX-License-Identifier: Apache-2.0 */
/* semantics.h - what the parts of semantics.c share: sockets under test, and native ones beside them. */
#ifndef MW_TEST_VM_SEMANTICS_H
#define MW_TEST_VM_SEMANTICS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

extern int family; /* AF_INET or AF_INET6, of all sockets */

/* One line of what was seen. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void result(const char *what, long r); /* the result, or the name of errno */
void poll_of(const char *what, int fd, int wait_ms); /* the bits that come within that time and stay */

int native_socket(int type);           /* never the module's */
socklen_t loopback(struct sockaddr_storage *a, int port);
int port_of(int fd);
int listener(int type_flags, int *port); /* under test */
int native_listener(int *port);
/* A connection: *near is under test, *far is native. From us, or accepted by us. */
void dialled(int *near, int *far);
void accepted(int *near, int *far);
void settle(void);                     /* what is under way has arrived */
uint32_t sum(uint32_t s, const void *p, size_t n);
void reset(int fd);                    /* closes with RST */

void test_calls(void);
void test_connect(void);
void test_states(void);
void test_edges(void);
void test_read(void);
void test_bulk(void);
void test_pass(void);
void test_wait(void);
void test_options(void);
void test_dgram(void);
void test_urgent(void);
void test_again(void);
void test_linger(void);
void test_waits(void);
void test_held(void); /* a connection for some seconds */
void test_whose(void);
void test_lowest(void);

#endif
