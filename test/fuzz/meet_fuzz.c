// SPDX-License-Identifier: Apache-2.0
/*
 * meet_fuzz.c - libFuzzer target: whatever an INS domain finds in its keys, and in the directory that the protected domain shares.
 * Trust: none. The INS waits, or says why not, or begins: then it knows another domain than its own, and as many pages as arena, door and
 * telemetry need. What a person reads has other bytes than text nowhere.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>

#include "ins/ins.h"
#include "test/fuzz/input.h"
#include "test/fuzz/said.h"

static int model_poll(struct pollfd *p, nfds_t n, int ms);
#define fprintf said
#define poll    model_poll
#include "ins/xen/meet.c"
#undef fprintf

#define WAITS  12
#define OUR_FD 77 /* of XenStore: only handed around */

struct ins ins;
static struct input *choices;
static int waits;
static bool asked; /* "init" was said: now the other one shares what it has */
static bool mapped;
static uint32_t pages_read, true_slots;

/* --- what an INS has beside it --- */

static int model_poll(struct pollfd *p, nfds_t n, int ms)
{
	must(n == 1 && p->fd == OUR_FD && ms == 1000);
	meet_stop = ++waits >= WAITS;
	return next_byte(choices) & 1;
}

void load_text(const struct mw_tele_view *v, const struct mw_tele *t, char *text, size_t room)
{
	(void)v, (void)t;
	snprintf(text, room, "0:0:0");
}

void slots_spare(uint32_t slot)
{
	must(slot < ins.view.slots);
}

void slots_unspare(uint32_t slot)
{
	must(slot < ins.view.slots);
}

void *state_block(const char *name, size_t bytes)
{
	(void)name, (void)bytes;
	return NULL;
}

void mirror_start(void)
{
}

/* --- XenStore --- */

int store_open(void)
{
	return 0;
}

int store_fd(void)
{
	return OUR_FD;
}

int store_watch(const char *path)
{
	must(!strncmp(path, "/mw/", 4));
	return 0;
}

int store_write(const char *path, const char *value)
{
	must(!strncmp(path, "/mw/", 4) && strlen(value) < STORE_VALUE_MAX);
	asked |= !strcmp(value, "init");
	return next_byte(choices) == 255 ? -EACCES : 0;
}

bool store_changed(void)
{
	return next_byte(choices) & 1;
}

int store_domain_lives(unsigned int domain)
{
	must(domain == pvm);
	return next_byte(choices) != 255;
}

static const char *truth(const char *name)
{
	static const char *const keys[][2] = { { "domid", "5" }, { "id", "3" }, { "pvm_state", "ready" }, { "gnt_ref_1", "1f" }, { "vm_evt_chn_prt", "12" },
					       { "pvm_version", "1" } };

	if (!strcmp(name, "gnt_ref_chunks"))
		return asked ? "1" : "0";
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(keys[i][0], name))
			return keys[i][1];
	return "";
}

int store_read(const char *path, char value[STORE_VALUE_MAX])
{
	const char *slash = strrchr(path, '/');
	uint8_t how = next_byte(choices);

	memset(value, 'x', STORE_VALUE_MAX);
	strcpy(value, truth(slash ? slash + 1 : path));
	if (how < 240)
		return 0;
	*value = 0;
	if (how < 245)
		return -ENOENT;
	next_bytes(choices, value, how - 240u);
	value[how - 240] = 0;
	return 0;
}

/* --- the protected domain's pages --- */

/* Its first page is the directory's; all of it is right, but for what the input changes. */
static void fill_page(uint32_t *words)
{
	uint64_t fixed;

	for (uint32_t i = 0; i < MW_DIRECTORY_WORDS; i++)
		words[i] = pages_read << 16 | i;
	if (pages_read++ == 0) {
		uint32_t head[MW_DIRECTORY_HEAD] = { MW_DIRECTORY_MAGIC, MW_DIRECTORY_VERSION, true_slots, 65536, 65536 };

		fixed = arena_bytes(true_slots, 65536, 65536);
		head[5] = fixed ? (uint32_t)((fixed - true_slots * 131072ull + MW_PAGE - 1) / MW_PAGE) : 1;
		head[6] = (uint32_t)((MW_DOOR_BYTES + MW_PAGE - 1) / MW_PAGE);
		head[7] = (uint32_t)((tele_bytes(true_slots) + MW_PAGE - 1) / MW_PAGE);
		memcpy(words, head, sizeof(head));
	}
	for (uint8_t lies = next_byte(choices) % 4; lies; lies--) {
		uint32_t at = next_byte(choices) % MW_DIRECTORY_HEAD;

		words[at] = (uint32_t)next_lie(choices, words[at]);
	}
}

static int map(void *at, const uint32_t *refs, uint32_t pages)
{
	must(pages == 1 && !mapped && refs);
	if (next_byte(choices) == 255)
		return -EINVAL;
	must(mprotect(at, MW_PAGE, PROT_READ | PROT_WRITE) == 0);
	fill_page(at);
	mapped = true;
	return 0;
}

static void unmap(void *at, const uint32_t *refs, uint32_t pages)
{
	must(pages == 1 && mapped && refs);
	must(mprotect(at, MW_PAGE, PROT_NONE) == 0);
	mapped = false;
}

const struct carrier carrier_xen = { .name = "model", .map = map, .unmap = unmap };

int grant_open(uint32_t domain, uint32_t remote_port)
{
	must(domain == pvm && domain != own);
	(void)remote_port;
	return next_byte(choices) == 255 ? -ENODEV : 0;
}

/* --- the target --- */

static void begun(const struct session *s)
{
	const struct shape *p = &s->shape;
	uint64_t sum = 0;

	must(own != pvm && own <= 0x7fef && pvm <= 0x7fef && asked && s->carrier == &carrier_xen && p->refs && p->slots);
	must((uint64_t)p->arena_pages * MW_PAGE + (uint64_t)p->slots * (p->rx_room + p->tx_room) >= arena_bytes(p->slots, p->rx_room, p->tx_room));
	for (uint32_t i = 0; i < p->arena_pages + p->door_pages + p->tele_pages; i++)
		sum += p->refs[i];
	must(sum);
	meet_up();
	for (int i = 0; i < 4 && meet_turn(NULL, i & 1); i++)
		;
	meet_closing();
	meet_end(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	struct session s = { .carrier = next_byte(&in) & 1 ? &carrier_xen : NULL };

	choices = &in;
	waits = 0;
	meet_stop = asked = mapped = false;
	pages_read = 0;
	true_slots = 64u << next_byte(&in) % 8;
	if (meet_begin(&s) == 0)
		begun(&s);
	must(!mapped);
	free(s.shape.refs);
	return 0;
}
