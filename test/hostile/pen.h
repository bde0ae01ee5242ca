/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pen.h - a ring locked up for a liar to play with. Used by test/hostile only.
 * Trust: the memory is mapped twice: all of it writable for the enemy, and for the side under test only what it may
 * write is writable, each word and the data between guard pages. A step outside is a fault, which ends the test.
 */
#ifndef MW_TEST_HOSTILE_PEN_H
#define MW_TEST_HOSTILE_PEN_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chan/ring.h"
#include "chan/wire.h"

enum pen_part { PEN_PROD, PEN_CONS, PEN_EVENT, PEN_SPACE, PEN_DATA };

struct pen {
	uint32_t bytes;
	uint64_t *lie[PEN_DATA];  /* the enemy's way to the words */
	uint8_t *lie_data;
	struct mw_ring ring;      /* the tested side's; event is the consumer's */
	struct mw_ring space;     /* the same, event is the producer's */
	uint8_t *buffer;          /* bytes of private memory that end at a guard page */
	uint8_t *enemy_map;
};

#define PEN_CANARY 0xa5

static inline void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "FAILED: %s\n", what);
	exit(1);
}

/* splitmix64 */
static inline uint64_t pen_random(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline uint64_t pen_seed(int argc, char **argv, int at)
{
	return argc > at ? strtoull(argv[at], NULL, 0) : ((uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)&argc);
}

/* A value for an index whose honest range is low .. low + bytes: honest, at an edge, or wild. */
static inline uint64_t pen_lie(uint64_t *seed, uint64_t low, uint32_t bytes)
{
	uint64_t r = pen_random(seed), more = r >> 8;

	switch (r % 32) {
	case 0: return low - 1;
	case 1: return low + bytes + 1;
	case 2: return 0;
	case 3: return ~0ULL;
	case 4: return ~0ULL - 1;
	case 5: return low + ((more % 9 + 1) << 32);
	case 6: return low - ((more % 9 + 1) << 32);
	case 7: return ((more % 9 + 1) << 32) - more / 16 % 3;
	case 8: return low ^ 1ULL << more % 64;
	case 9: return pen_random(seed);
	case 10: return pen_random(seed) & 0xffffffff;
	case 11: return low - bytes;
	case 12: return low - bytes - 1;
	case 13: return low + 2ULL * bytes;
	case 14: return low + 1;
	case 15: return low + bytes - 1;
	case 16: return low + bytes;
	case 17: return low;
	case 18: return low + bytes / 2;
	case 19: return low ^ 1ULL << 63;
	default: return low + more % (bytes + 1ULL);
	}
}

/* Maps one part of the file for the tested side, with an unreadable page before and behind. */
static inline uint8_t *pen_cell(int fd, off_t at, size_t bytes, bool writable)
{
	uint8_t *p = mmap(NULL, bytes + 2 * MW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap of a cell");
	p = mmap(p + MW_PAGE, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED, fd, at);
	must(p != MAP_FAILED, "mmap into a cell");
	return p;
}

static inline void pen_open(struct pen *p, uint32_t bytes, bool consumer)
{
	int fd = memfd_create("pen", 0);
	uint64_t *word[PEN_DATA];
	uint8_t *data, *private;

	memset(p, 0, sizeof(*p));
	p->bytes = bytes;
	must(fd >= 0 && ftruncate(fd, PEN_DATA * MW_PAGE + bytes) == 0, "memfd");
	p->enemy_map = mmap(NULL, PEN_DATA * MW_PAGE + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(p->enemy_map != MAP_FAILED, "mmap for the enemy");
	memset(p->enemy_map, PEN_CANARY, PEN_DATA * MW_PAGE + bytes);
	for (uint32_t i = 0; i < PEN_DATA; i++) {
		bool mine = (i == PEN_CONS || i == PEN_EVENT) == consumer;

		p->lie[i] = (uint64_t *)(p->enemy_map + i * MW_PAGE);
		*p->lie[i] = i == PEN_SPACE || i == PEN_EVENT ? MW_NEVER : 0;
		word[i] = (uint64_t *)pen_cell(fd, i * MW_PAGE, MW_PAGE, mine);
	}
	p->lie_data = p->enemy_map + PEN_DATA * MW_PAGE;
	data = pen_cell(fd, PEN_DATA * MW_PAGE, bytes, !consumer);
	p->ring = (struct mw_ring){ MW_PEER(data), word[PEN_PROD], word[PEN_CONS], word[PEN_EVENT], bytes, 0 };
	p->space = (struct mw_ring){ MW_PEER(data), word[PEN_PROD], word[PEN_CONS], word[PEN_SPACE], bytes, 0 };
	close(fd);
	fd = memfd_create("private", 0);
	must(fd >= 0 && ftruncate(fd, bytes) == 0, "memfd");
	private = pen_cell(fd, 0, bytes, true);
	p->buffer = private;
	close(fd);
}

/* Nothing but the words themselves was touched in their pages. */
static inline void pen_canaries(const struct pen *p)
{
	for (uint32_t i = 0; i < PEN_DATA; i++)
		for (size_t at = sizeof(uint64_t); at < MW_PAGE; at++)
			must(p->enemy_map[i * MW_PAGE + at] == PEN_CANARY, "bytes beside a word changed");
}

#endif
