// SPDX-License-Identifier: Apache-2.0
/*
 * app.c - see app.h.
 * Trust: as in the header.
 *
 * The file: directory pages | door | telemetry | arena, all of it. So refs are pages of the file, a ring's where an arena has it.
 */
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/door/app.h"

#define PATIENCE_MS 20000
#define FILE_FD 20
#define NEWS_FD 21
#define DIRECTORY_PAGES 4u

void app_die(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", file, line, what, errno);
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint32_t pages(uint64_t bytes)
{
	return (uint32_t)((bytes + MW_PAGE - 1) / MW_PAGE);
}

/* --- memory --- */

static void write_directory(struct app *a, uint32_t fixed, uint32_t door, uint32_t tele)
{
	uint32_t head[] = { MW_DIRECTORY_MAGIC, MW_DIRECTORY_VERSION, APP_SLOTS, APP_RX_ROOM, APP_TX_ROOM, fixed, door, tele }, *d = (uint32_t *)a->file;
	uint32_t total = fixed + door + tele, n = MW_DIRECTORY_HEAD, page = 0;

	memcpy(d, head, sizeof(head));
	for (uint32_t i = 0; i < total; i++) {
		uint32_t ref = i < fixed ? a->arena_page + i : DIRECTORY_PAGES + i - fixed;

		if (n == MW_DIRECTORY_WORDS - 1) {
			d[n] = ++page;
			d += MW_DIRECTORY_WORDS;
			n = 0;
		}
		d[n++] = ref;
	}
	must(page < DIRECTORY_PAGES);
}

void app_make(struct app *a)
{
	uint64_t arena = arena_bytes(APP_SLOTS, APP_RX_ROOM, APP_TX_ROOM);
	uint32_t door = pages(MW_DOOR_BYTES), tele = pages(tele_bytes(APP_SLOTS));
	uint32_t fixed = pages(MW_SLOT_OFFSET + APP_SLOTS * sizeof(struct mw_slot));

	*a = (struct app){ .word = a->word };
	a->news = -1;
	a->arena_page = DIRECTORY_PAGES + door + tele;
	a->file_bytes = (uint64_t)a->arena_page * MW_PAGE + arena;
	a->fd = memfd_create("door", MFD_CLOEXEC);
	must(a->fd >= 0 && ftruncate(a->fd, (off_t)a->file_bytes) == 0);
	a->file = mmap(NULL, a->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
	must(a->file != MAP_FAILED);
	must(door_init(&a->door, a->file + DIRECTORY_PAGES * MW_PAGE, APP_SLOTS) == 0);
	must(tele_init(&a->tele, a->file + (DIRECTORY_PAGES + door) * MW_PAGE, (uint64_t)tele * MW_PAGE, APP_SLOTS) == 0);
	must(arena_init(&a->view, a->file + (uint64_t)a->arena_page * MW_PAGE, arena, APP_SLOTS, APP_RX_ROOM, APP_TX_ROOM) == 0);
	a->view.sizes = a->sizes;
	write_directory(a, fixed, door, tele);
}

void app_spawn(struct app *a, const char *mw_ins, const char *how)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	a->news = pair[0];
	a->pid = fork();
	must(a->pid >= 0);
	if (a->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		must(dup2(a->fd, FILE_FD) == FILE_FD && dup2(pair[1], NEWS_FD) == NEWS_FD);
		execl(mw_ins, "mw-ins", how, "file=20,21", a->word, (char *)NULL);
		app_die(__FILE__, __LINE__, mw_ins);
	}
	close(pair[1]);
}

struct mw_slot *app_slot(const struct app *a, uint32_t slot)
{
	return (struct mw_slot *)(mw_uintptr)arena_slot(&a->view, slot);
}

static struct mw_door *door_of(const struct app *a)
{
	return (struct mw_door *)(mw_uintptr)door_header(&a->door);
}

void app_hello(struct app *a)
{
	struct mw_req q = { .u.hello.version = MW_VERSION };
	uint64_t end = now_ms() + PATIENCE_MS;

	while (mw_load_acquire(&door_of(a)->state) != MW_DOOR_UP) {
		must(now_ms() < end);
		app_turn(a, 100);
	}
	must(app_call(a, &q, MW_OP_HELLO, NULL, 0, NULL) == 0);
}

void app_start(struct app *a, const char *mw_ins)
{
	app_make(a);
	app_spawn(a, mw_ins, "door");
	app_hello(a);
}

static int child_of(int pid, int which)
{
	char path[64];
	FILE *f;
	int child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	if ((f = fopen(path, "r"))) {
		for (int n = 0; n <= which; n++)
			if (fscanf(f, "%d", &child) != 1)
				child = 0;
		fclose(f);
	}
	return child;
}

int app_worker(const struct app *a)
{
	int keeper = child_of(a->pid, 0);

	return keeper ? child_of(keeper, 1) : 0; /* the starter is the first */
}

int app_wait_end(struct app *a)
{
	int status;

	must(waitpid(a->pid, &status, 0) == a->pid);
	a->pid = 0;
	return status;
}

int app_stop(struct app *a)
{
	int status = 0;

	if (a->news >= 0)
		close(a->news); /* that is how it learns */
	if (a->pid)
		status = app_wait_end(a);
	munmap(a->file, a->file_bytes);
	close(a->fd);
	return status;
}

/* --- news --- */

void app_kick(struct app *a)
{
	static const uint64_t one = 1;

	a->notifies++;
	if (write(a->news, &one, sizeof(one)) < 0)
		return; /* told already, or it is gone */
}

static void mark(struct app *a, uint32_t slot)
{
	if (ready_mark(&a->view, slot))
		app_kick(a);
}

static bool take_replies(struct app *a)
{
	static uint8_t record[MW_DOOR_RING];
	struct mw_reply r;
	struct mw_ring ring;
	bool any = false;
	int32_t n;

	door_replies(&a->door, &ring);
	while ((n = door_take(&ring, &a->rep_cons, record, sizeof(r), sizeof(record))) > 0) {
		memcpy(&r, record, sizeof(r));
		must((uint32_t)n == r.bytes && r.value_bytes == r.bytes - sizeof(r));
		must(!a->replies[r.seq % 64].there); /* each exactly once */
		a->replies[r.seq % 64].there = true;
		a->replies[r.seq % 64].r = r;
		memcpy(a->replies[r.seq % 64].value, record + sizeof(r), r.value_bytes < 256 ? r.value_bytes : 256);
		any = true;
	}
	must(n == 0);
	return any;
}

bool app_turn(struct app *a, int ms)
{
	struct pollfd p = { .fd = a->news, .events = POLLIN };
	bool any = take_replies(a);
	uint64_t bits;
	char drop[256];
	int32_t first;

	for (uint32_t from = 0; (first = door_take_ready(&a->door, from, &bits)) >= 0; from = (uint32_t)first + 64)
		any = true;
	if (any || !door_sleep(&a->door, a->rep_cons))
		return true;
	if (poll(&p, 1, ms) > 0 && read(a->news, drop, sizeof(drop)) > 0)
		a->notified++;
	mw_store(&door_of(a)->app_sleeping, 0u);
	return p.revents;
}

/* --- requests --- */

uint32_t app_ask(struct app *a, struct mw_req *q, uint32_t op, const void *value, uint32_t n)
{
	struct mw_arena *arena = (struct mw_arena *)(mw_uintptr)arena_header(&a->view);
	uint64_t end = now_ms() + PATIENCE_MS;
	struct mw_ring r;

	msg_request_seal(q, op, ++a->seq);
	a->replies[a->seq % 64].there = false;
	door_requests(&a->door, &r);
	while (door_put(&r, &a->req_prod, q, msg_request_bytes(op), value, n) == -EAGAIN) {
		must(now_ms() < end);
		app_turn(a, 10);
	}
	mw_fence();
	if (__atomic_exchange_n(&arena->sleeping, 0, __ATOMIC_SEQ_CST))
		app_kick(a);
	return a->seq;
}

int app_answer(struct app *a, uint32_t seq, struct mw_reply *r)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (!a->replies[seq % 64].there) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		app_turn(a, 100);
	}
	must(a->replies[seq % 64].r.seq == seq);
	if (r)
		*r = a->replies[seq % 64].r;
	return a->replies[seq % 64].r.status;
}

int app_call(struct app *a, struct mw_req *q, uint32_t op, const void *value, uint32_t n, struct mw_reply *r)
{
	return app_answer(a, app_ask(a, q, op, value, n), r);
}

/* --- rings --- */

int app_grant(struct app *a, uint32_t slot, uint32_t rx_pages, uint32_t tx_pages)
{
	struct mw_req q = { .slot = slot, .u.grant = { rx_pages, tx_pages } };
	static uint32_t refs[2 * MW_RING_BYTES_MAX / MW_PAGE];
	struct mw_ring rx, tx;
	int e;

	arena_rx(&a->view, slot, &rx);
	arena_tx(&a->view, slot, &tx);
	for (uint32_t i = 0; i < rx_pages; i++)
		refs[i] = (uint32_t)(((uint8_t *)(mw_uintptr)rx.data - a->file) / MW_PAGE) + i;
	for (uint32_t i = 0; i < tx_pages; i++)
		refs[rx_pages + i] = (uint32_t)(((uint8_t *)(mw_uintptr)tx.data - a->file) / MW_PAGE) + i;
	e = app_call(a, &q, MW_OP_GRANT, refs, (rx_pages + tx_pages) * 4, NULL);
	if (e == 0)
		a->sizes[slot] = (struct mw_ring_sizes){ rx_pages * MW_PAGE, tx_pages * MW_PAGE };
	return e;
}

int app_revoke(struct app *a, uint32_t slot)
{
	struct mw_req q = { .slot = slot };

	return app_call(a, &q, MW_OP_REVOKE, NULL, 0, NULL);
}

/* --- sockets --- */

static struct mw_addr address(uint32_t ip4, uint16_t port)
{
	struct mw_addr a = { .family = MW_FAMILY_IP4, .port = port,
			     .addr = { (uint8_t)(ip4 >> 24), (uint8_t)(ip4 >> 16), (uint8_t)(ip4 >> 8), (uint8_t)ip4 } };

	return a;
}

int sock_new(struct app *a, struct sock *s, uint16_t family, uint16_t type)
{
	struct mw_req q = { .u.socket = { .cookie = 7, .family = family, .type = type } };
	struct mw_reply r;
	int e = app_call(a, &q, MW_OP_SOCKET, NULL, 0, &r);

	*s = (struct sock){ .slot = r.slot, .gen = r.gen };
	return e;
}

static int about(struct app *a, const struct sock *s, struct mw_req *q, uint32_t op)
{
	q->slot = s->slot;
	q->gen = s->gen;
	return app_call(a, q, op, NULL, 0, NULL);
}

int sock_bind(struct app *a, const struct sock *s, uint32_t ip4, uint16_t port)
{
	return about(a, s, &(struct mw_req){ .u.addr = address(ip4, port) }, MW_OP_BIND);
}

int sock_listen(struct app *a, const struct sock *s, int backlog)
{
	return about(a, s, &(struct mw_req){ .u.listen.backlog = backlog }, MW_OP_LISTEN);
}

int sock_connect(struct app *a, const struct sock *s, uint32_t ip4, uint16_t port)
{
	struct mw_slot *m = app_slot(a, s->slot);
	int r = about(a, s, &(struct mw_req){ .u.addr = address(ip4, port) }, MW_OP_CONNECT);
	uint64_t end = now_ms() + PATIENCE_MS;

	while (r == -EINPROGRESS && mw_load_acquire(&m->ins.state) == MW_ST_CONNECTING && now_ms() < end)
		app_turn(a, 100);
	if (r == -EINPROGRESS)
		r = mw_load_acquire(&m->ins.state) == MW_ST_ESTABLISHED ? 0 : -mw_load(&m->ins.error);
	return r;
}

/* Waits until `pos` of the ring is passed by the other side's index, or the socket's words change. */
static bool wait_rx(struct app *a, struct sock *s, const struct mw_ring *r, uint32_t *used)
{
	ring_arm(r, s->rx_cons);
	must(ring_used(r, s->rx_cons, used) == 0);
	if (*used)
		return true;
	app_turn(a, 100);
	must(ring_used(r, s->rx_cons, used) == 0);
	return *used;
}

static void took(struct app *a, struct sock *s, const struct mw_ring *r, uint32_t n)
{
	uint64_t event;

	s->rx_cons += n;
	ring_release(r, s->rx_cons);
	mw_fence();
	event = mw_load(&app_slot(a, s->slot)->ins.rx_space_event);
	if (event != MW_NEVER && s->rx_cons > event)
		mark(a, s->slot);
}

int sock_accept(struct app *a, struct sock *l, struct sock *s)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	struct mw_accepted c, record;
	struct mw_ring r;
	uint32_t used;

	arena_rx(&a->view, l->slot, &r);
	must(ring_used(&r, l->rx_cons, &used) == 0);
	while (!used)
		if (!wait_rx(a, l, &r, &used) && now_ms() > end)
			return -ETIMEDOUT;
	must(used % sizeof(c) == 0);
	ring_read(&r, l->rx_cons, &record, sizeof(record));
	must(msg_accepted_check(&c, &record, sizeof(record)) == 0 && c.slot < APP_SLOTS);
	took(a, l, &r, sizeof(record));
	must(mw_load_acquire(&app_slot(a, c.slot)->ins.gen) == c.gen);
	*s = (struct sock){ .slot = c.slot, .gen = c.gen };
	return 0;
}

static int failed(struct app *a, const struct sock *s)
{
	struct mw_slot *m = app_slot(a, s->slot);

	must(mw_load(&m->ins.gen) == s->gen);
	return mw_load_acquire(&m->ins.rx_state) & MW_RX_ERROR ? -mw_load(&m->ins.error) : 0;
}

/* Room in tx for n bytes, waiting for it. */
static int wait_tx(struct app *a, struct sock *s, const struct mw_ring *r, uint32_t n, uint32_t *room)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (ring_free(r, s->tx_prod, room) == 0 && *room < n) {
		if (failed(a, s))
			return failed(a, s);
		if (now_ms() > end)
			return -ETIMEDOUT;
		ring_arm(r, s->tx_prod - (r->bytes - n) - 1);
		if (ring_free(r, s->tx_prod, room) == 0 && *room < n)
			app_turn(a, 100);
	}
	return 0;
}

ssize_t sock_send(struct app *a, struct sock *s, const void *from, size_t n)
{
	struct mw_ring r;
	size_t done = 0;
	uint32_t room;

	arena_tx(&a->view, s->slot, &r);
	while (done < n) {
		uint32_t least = n - done < r.bytes / 3 ? (uint32_t)(n - done) : r.bytes / 3;
		int e = failed(a, s);

		e = e ? e : wait_tx(a, s, &r, least, &room);
		if (e < 0)
			return e;
		room = n - done < room ? (uint32_t)(n - done) : room;
		ring_write(&r, s->tx_prod, (const uint8_t *)from + done, room);
		s->tx_prod += room;
		done += room;
		ring_publish(&r, s->tx_prod);
		mark(a, s->slot);
	}
	return (ssize_t)n;
}

ssize_t sock_recv(struct app *a, struct sock *s, void *to, size_t room)
{
	struct mw_slot *m = app_slot(a, s->slot);
	uint64_t end = now_ms() + PATIENCE_MS;
	struct mw_ring r;
	uint32_t used;

	arena_rx(&a->view, s->slot, &r);
	for (;;) {
		uint32_t state = mw_load_acquire(&m->ins.rx_state);

		must(mw_load(&m->ins.gen) == s->gen && ring_used(&r, s->rx_cons, &used) == 0);
		if (used || wait_rx(a, s, &r, &used))
			break;
		if (state)
			return state & MW_RX_ERROR ? -mw_load(&m->ins.error) : 0;
		if (now_ms() > end)
			return -ETIMEDOUT;
	}
	used = used < room ? used : (uint32_t)room;
	ring_read(&r, s->rx_cons, to, used);
	took(a, s, &r, used);
	return used;
}

int sock_setopt(struct app *a, const struct sock *s, int level, int name, int value)
{
	struct mw_req q = { .slot = s->slot, .gen = s->gen, .u.option = { .level = level, .name = name, .bytes = 4, .have = 4 } };

	return app_call(a, &q, MW_OP_SETSOCKOPT, &value, sizeof(value), NULL);
}

int sock_getopt(struct app *a, const struct sock *s, int level, int name, int *value)
{
	struct mw_req q = { .slot = s->slot, .gen = s->gen, .u.option = { .level = level, .name = name, .bytes = 4, .have = 4 } };
	struct mw_reply r;
	int e = app_call(a, &q, MW_OP_GETSOCKOPT, value, sizeof(*value), &r);

	if (e == 0)
		memcpy(value, a->replies[r.seq % 64].value, sizeof(*value));
	return e;
}

ssize_t sock_sendto(struct app *a, struct sock *s, const void *from, size_t n, uint32_t ip4, uint16_t port, uint32_t tag)
{
	struct mw_dgram d = { .kind = MW_DG_DATA, .tag = tag };
	uint32_t lead[2] = { (uint32_t)(sizeof(d) + n), 0 }, bytes = (uint32_t)(sizeof(lead) + sizeof(d) + n + 7) & ~7u, room;
	struct mw_ring r;
	int e;

	if (port)
		d.peer = address(ip4, port);
	arena_tx(&a->view, s->slot, &r);
	e = wait_tx(a, s, &r, bytes, &room);
	if (e < 0)
		return e;
	ring_write(&r, s->tx_prod, lead, sizeof(lead));
	ring_write(&r, s->tx_prod + sizeof(lead), &d, sizeof(d));
	ring_write(&r, s->tx_prod + sizeof(lead) + sizeof(d), from, (uint32_t)n);
	s->tx_prod += bytes;
	ring_publish(&r, s->tx_prod);
	mark(a, s->slot);
	if (!tag)
		return (ssize_t)n;
	e = about(a, s, &(struct mw_req){ .u.flush.tag = tag }, MW_OP_FLUSH);
	return e < 0 ? e : (ssize_t)n;
}

ssize_t sock_recvfrom(struct app *a, struct sock *s, void *to, size_t room, struct mw_addr *peer)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	uint32_t lead[2], used, bytes;
	struct mw_dgram d;
	struct mw_ring r;
	size_t n;

	arena_rx(&a->view, s->slot, &r);
	must(ring_used(&r, s->rx_cons, &used) == 0);
	while (!used)
		if (!wait_rx(a, s, &r, &used) && now_ms() > end)
			return -ETIMEDOUT;
	ring_read(&r, s->rx_cons, lead, sizeof(lead));
	bytes = ((uint32_t)sizeof(lead) + lead[0] + 7) & ~7u;
	must(lead[1] == 0 && lead[0] >= sizeof(d) && bytes <= used);
	ring_read(&r, s->rx_cons + sizeof(lead), &d, sizeof(d));
	must(msg_dgram_check(&d, &d, lead[0]) == 0);
	*peer = d.peer;
	n = lead[0] - sizeof(d);
	ring_read(&r, s->rx_cons + sizeof(lead) + sizeof(d), to, (uint32_t)(n < room ? n : room));
	took(a, s, &r, bytes);
	return (ssize_t)n;
}

void sock_flag(struct app *a, const struct sock *s, uint32_t flag)
{
	__atomic_fetch_or(&app_slot(a, s->slot)->app.flags, flag, __ATOMIC_SEQ_CST);
	mark(a, s->slot);
}

void sock_close(struct app *a, struct sock *s)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	must(mw_load(&app_slot(a, s->slot)->ins.gen) == s->gen);
	sock_flag(a, s, MW_APP_CLOSED);
	while (mw_load_acquire(&app_slot(a, s->slot)->ins.gen) == s->gen) {
		must(now_ms() < end);
		app_turn(a, 100);
	}
}

void app_own_network(void)
{
	struct ifreq i = { .ifr_name = "lo" };
	int fd;

	must(unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) == 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	i.ifr_flags = IFF_UP | IFF_RUNNING;
	must(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &i) == 0);
	close(fd);
}
