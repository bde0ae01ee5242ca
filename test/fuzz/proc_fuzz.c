// SPDX-License-Identifier: Apache-2.0
/*
 * proc_fuzz.c - libFuzzer target: any text as the kernel's lines of an epoll set, and as nftables' rules of INSs that are gone.
 * Trust: none.
 */
#include <sys/mman.h>

#include "front/gone.c"
#include "shim/again.c"

#include "test/fuzz/input.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static int file;

/* --- what they have beside them: members are never probed, and there is no socket --- */

void probe_due(struct member *m, int64_t now_ms, int64_t heartbeat_ms)
{
	must(m && now_ms >= 0 && heartbeat_ms > 0);
}

void probe_ready(struct member *m)
{
	must(m->fd >= 0);
}

void probe_stop(struct member *m)
{
	must(m->fd < 0);
}

const struct entry_port *member_probe_port(const struct member *m)
{
	return m->e.port_count ? &m->e.ports[0] : NULL;
}

void conntrack_forget_led(const struct conntrack_led *led, size_t n)
{
	must(led && n && n <= SPREAD_MAX);
}

bool plain_on;
struct mw_view shim_views[MW_INS_MAX];

bool sock_get(int fd, struct sock *k)
{
	return fd < 0 && k;
}

bool sock_failed(struct sock *k)
{
	return k->fd < 0;
}

void fdtab_set(int fd, uint32_t place)
{
	must(fd >= 0 && place != ~0u);
}

void fdtab_clear(int fd)
{
	must(fd >= 0);
}

bool in_own_process(void)
{
	return true;
}

int doorbell_pair(int type_flags, int pair[2], uint64_t *cookie)
{
	pair[0] = pair[1] = type_flags;
	*cookie = 0;
	return -EMFILE;
}

void doorbell_copy_file(int from, int to)
{
	must(from != to);
}

void doorbell_replace(const struct sock *from, int fd, uint32_t to)
{
	must(from && fd >= 0 && to != ~0u);
}

void address_request(struct sock *k, struct mw_req *q)
{
	must(k && q);
}

int ctl_call(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	must(k && q && r && op);
	return pass_fd < 0 ? -EBADF : -ENETDOWN;
}

void option_inherit(struct sock *listener, struct sock *k)
{
	must(listener != k);
}

/* --- the target --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	file = memfd_create("fdinfo", 0);
	must(file >= 0);
	return 0;
}

/* In an epoll set's lines the doorbell is inode 0x1a2b; their descriptors are no epoll sets, so nothing is taken off one. */
static void try_watches(const char *text, size_t n)
{
	struct watches ws = { .doorbell = 0x1a2b };
	struct watch w;
	ino_t ino;

	must(ftruncate(file, 0) == 0 && pwrite(file, text, n, 0) == (ssize_t)n && lseek(file, 0, SEEK_SET) == 0);
	take_from(&ws, -1, file);
	must(ws.count == 0);
	read_watch(text, &w, &ino);
}

static void try_rules(const char *text)
{
	gone_found(text, 0);
	for (size_t i = 0; i < count; i++)
		must(gone[i].e.port_count == 1 && (gone[i].e.has4 || gone[i].e.has6) && gone[i].fd < 0);
	gone_due(1, 1000);
	gone_due(1000000, 1000);
	gone_stop();
	must(count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	char *text = rest_text(&in);

	try_watches(text, n);
	try_rules(text);
	free(text);
	return 0;
}
