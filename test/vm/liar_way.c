// SPDX-License-Identifier: Apache-2.0
/*
 * liar_way.c - how the liar meets the module: by /dev/mwcomms-ins, or on Xen by XenStore and grants, as mw-ins does.
 * Trust: none needed.
 */
#include "test/vm/liar_way.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ins/xen/meet.h"

#define DEVICE "/dev/mwcomms-ins"

static const struct carrier *way;
static int device = -1;
static struct shape shape;

/* --- /dev/mwcomms-ins --- */

static int loop_map(void *at, const uint32_t *refs, uint32_t pages)
{
	for (uint32_t n = 0; n < pages; n++)
		if (mmap((uint8_t *)at + n * MW_PAGE, MW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, (off_t)refs[n] * MW_PAGE) == MAP_FAILED)
			return -errno;
	return 0;
}

static int loop_fd(void)
{
	return device;
}

static bool loop_news(void)
{
	uint64_t news;

	return read(device, &news, sizeof(news)) != 0;
}

static void loop_notify(void)
{
	static const uint64_t one = 1;

	if (write(device, &one, sizeof(one)) < 0)
		return;
}

static const struct carrier loop = { "loop", loop_map, NULL, loop_fd, loop_news, loop_notify };

/* --- both --- */

void *way_map(const uint32_t *refs, uint32_t pages)
{
	void *at = mmap(NULL, (size_t)pages * MW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at != MAP_FAILED && way->map(at, refs, pages) == 0)
		return at;
	perror("map");
	exit(1);
}

/* As ins/xen/memory.c's, which checks what it reads. */
int memory_directory(const struct carrier *c, uint32_t ref, struct shape *s)
{
	uint32_t *page, word = 0, at = MW_DIRECTORY_HEAD, count;

	way = c;
	page = way_map(&ref, 1);
	if (page[0] != MW_DIRECTORY_MAGIC)
		return -EPROTO;
	*s = (struct shape){ .slots = page[2], .rx_room = page[3], .tx_room = page[4], .arena_pages = page[5], .door_pages = page[6], .tele_pages = page[7] };
	count = s->arena_pages + s->door_pages + s->tele_pages;
	s->refs = calloc(count, sizeof(*s->refs));
	for (; word < count; word++) {
		if (at == MW_DIRECTORY_WORDS - 1) {
			uint32_t *next = way_map(&page[MW_DIRECTORY_WORDS - 1], 1);

			munmap(page, MW_PAGE);
			page = next;
			at = 0;
		}
		s->refs[word] = page[at++];
	}
	munmap(page, MW_PAGE);
	return 0;
}

static bool on_xen;

const struct shape *way_meet(bool xen)
{
	struct session s = { 0 };

	on_xen = xen;
	if (!xen) {
		device = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (device < 0 || memory_directory(&loop, 0, &shape) < 0) {
			perror(DEVICE);
			return NULL;
		}
		return &shape;
	}
	if (meet_begin(&s) < 0)
		return NULL;
	shape = s.shape;
	return &shape;
}

void way_up(void)
{
	if (on_xen)
		meet_up();
	else
		loop_notify();
}

void way_notify(void)
{
	way->notify();
}

int way_fd(void)
{
	return way->fd();
}

bool way_goes_on(void)
{
	static time_t last;
	bool second = time(NULL) != last;

	last = time(NULL);
	return way->news() && (!on_xen || meet_turn(NULL, second));
}

void way_part(void)
{
	free(shape.refs);
	if (on_xen)
		meet_end(NULL);
	else
		close(device);
}
