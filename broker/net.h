/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - the network of an INS's namespace: a veth pair, addresses, published ports. Used by the broker, which is in the host's
 * network namespace, is root, and has one thread (net_open enters the other namespace and comes back).
 * Trust: names are validated here; the namespace is only ever written to.
 *
 * Every function that fails returns -errno and leaves one line for a person in `why`; on success `why` is not touched.
 * All descriptors held here are close-on-exec. A child that is forked and does not exec must close them (close_range): the
 * rules live as long as anyone holds the nftables socket.
 *
 * What is on the host while a network is open, and who takes it away when the broker and the depot (depot.h) are gone, also by SIGKILL:
 *   veth mw-XXXX         the kernel, with the INS's namespace (its last process and descriptor)
 *   table inet mw-NAME   the kernel, with the nftables socket (the table's flag `owner`); nobody else can change it
 *   held ports           the kernel, with the sockets
 *   forwarding settings  nobody: the next broker that ends normally (netfwd.c says which settings)
 */
#ifndef MW_BROKER_NET_H
#define MW_BROKER_NET_H

#include <stddef.h>

#include "broker/plan.h"

enum { NET_WHY_BYTES = 256 };	/* enough for every message */

struct net;

/* Before net_open: the INS's addresses are of that block (plan.h), and other hosts may connect to what is published there too. */
void net_reach(unsigned block);

/* Gives the namespace of netns_fd (/proc/PID/ns/net, new and empty) an interface eth0, addresses, default routes and `lo`, lets
 * unprivileged programs bind every port there, and makes the host forward for it.
 * -EINVAL name; -EEXIST an application of this name has a network on this host; -EADDRNOTAVAIL no free address range. */
int net_open(struct net **out, const char *name, int netns_fd, char *why, size_t why_bytes);

/* The network of a broker that died, from what it deposited (deposit.h). The rules stay as they are until net_settle, which takes away
 * ports that nobody serves and INSs that do not live: what it was in the midst of. */
int net_adopt(struct net **out, const char *name, char *why, size_t why_bytes);
int net_settle(struct net *net, bool (*served)(const struct plan_port *port), bool (*lives)(uint32_t ins), char *why, size_t why_bytes);

/* A socket in another network namespace; -1: in this one. The descriptor or -errno. */
int net_socket(int netns_fd, int domain, int type, int protocol);

/* One more INS, in its own namespace, as net_open (whose has number 0). It gets nothing new until net_spread says so. */
int net_join(struct net *net, uint32_t number, int netns_fd, char *why, size_t why_bytes);

/* Whether it gets its share of new connections. Those that exist stay. */
int net_spread(struct net *net, uint32_t number, bool on, char *why, size_t why_bytes);

/* These changes, and net_leave's and net_unpublish's, take place whatever nftables says; while it has refused them, the rules before are
 * in force. net_catch_up tries again: true when they are as they should be at last. */
bool net_is_behind(const struct net *net);
bool net_catch_up(struct net *net);

/* It has ended: what the host led to it is not kept for who takes a client's port next. After net_spread. */
void net_forget(struct net *net, uint32_t number);

/* Its veth pair and addresses go. */
int net_leave(struct net *net, uint32_t number, char *why, size_t why_bytes);

/* Removes all of it. NULL is allowed. */
void net_close(struct net *net);

/* Makes a port of the host lead to a port of the INS, from everywhere but the host's loopback addresses; the INS sees the
 * client's own address. Publishing the same {proto, address, host port} again is no error: it replaces the INS's port, and
 * takes in interfaces that the host got since.
 * The port is held with a bound socket, so that conflicts show on both sides, as if a server listened here.
 * -EADDRINUSE the host's port is taken; -EADDRNOTAVAIL not an address of this host; -ENOSPC PLAN_PORTS_MAX. */
int net_publish(struct net *net, const struct plan_port *port, char *why, size_t why_bytes);

/* ins_port is not looked at. Connections that exist go on. Listeners that net_listen_loopback made are the caller's to close. The port is
 * free for others once no rule leads from it. -ENOENT not published. */
int net_unpublish(struct net *net, const struct plan_port *port, char *why, size_t why_bytes);

/* A socket of the host's loopback for a published port: of family AF_INET on 127.0.0.1, or AF_INET6 on ::1, or on the
 * port's own address if that is a loopback address. TCP listens, UDP is bound. This is the only way to get one: the held
 * port refuses every other bind. Returns the descriptor (close-on-exec, blocking), the caller's to close.
 * -ENOENT not published; -EAFNOSUPPORT no IPv6 on this host; -EADDRNOTAVAIL published on another address or family only. */
int net_listen_loopback(struct net *net, const struct plan_port *port, int family, int backlog, char *why,
			size_t why_bytes);

/* Addresses, and the name of the host end; valid until net_close. */
/* NULL: that INS has none. */
const struct plan_addrs *net_addrs(struct net *net, uint32_t number);
bool net_has_v6(const struct net *net);

#endif
