/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp.h - what the scripts of udp.c and udp_more.c use: sockets, and lines that two runs print alike.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_UDP_H
#define MW_SAME_UDP_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "test/same/view.h"

struct end {
	int fd;
	uint16_t port;
	socklen_t len;
	struct sockaddr_storage ss;
};

extern const struct sockaddr_in udp_nowhere; /* 127.0.0.1, port 0 */

struct end udp_bound(int family, const char *ip);        /* to a free port */
struct end udp_only6(void);                              /* IPv6 without IPv4, unbound */
struct end udp_named(int family, const char *ip, uint16_t port); /* an address without a socket */
void udp_refresh(struct end *e);                         /* the socket's own name, again */

void udp_say(const char *what, ssize_t r);               /* r and errno */
ssize_t udp_send(int fd, int bytes, int flags, const struct end *to); /* a pattern that starts anew each time */
void udp_ready(int fd);                                  /* until poll says IN, 2 s at most */
void udp_pause(void);                                    /* long enough for what is on its way */
/* Receives; prints length, whether the pattern is right, and whence: loopback addresses, and whether it is `from`. */
void udp_take(const char *what, int fd, size_t room, int flags, const struct end *from);
void udp_name(const char *what, int fd, bool peer);      /* address without its port */
void udp_look(const char *what, int fd);                 /* poll's word after a while */
void udp_view(const char *what, enum view v, int fd, uint32_t expected);

/* udp_more.c */
void more_blocking(void), more_control(void), more_control6(void), more_control_cut(void), more_control_bad(void);
void more_stamp(void), more_multicast(void), more_multicast6(void), more_fork(void), more_many(void), more_wait(void);
void more_close(void), more_volume(void), more_threads(void), more_woken(void), more_overload(void), more_rebind(void);
#define UDP_MORE more_blocking, more_control, more_control6, more_control_cut, more_control_bad, more_stamp, \
	more_multicast, more_multicast6, more_fork, more_many, more_wait, more_close, more_volume, more_threads, \
	more_woken, more_overload, more_rebind

#endif
