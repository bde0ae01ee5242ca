// SPDX-License-Identifier: Apache-2.0
/*
 * state.c - see state.h: a page of names, then the blocks. Every worker inherits the mapping.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ins/state.h"
#include "link/memfd.h"

#define MAGIC       0x3154534e49574d00ull
#define BLOCKS_MAX  64
#define NAME_BYTES  24
#define SLOT_BYTES  8192u /* more than all blocks have for one slot */
#define FIXED_BYTES (64ull << 20)

/* What does not change with the version: magic and version. */
struct file {
	uint64_t magic;
	uint32_t version, slots;
	uint64_t bytes, used;
	uint32_t count, pad;
	struct block {
		char name[NAME_BYTES];
		uint64_t bytes, offset;
	} block[BLOCKS_MAX];
};
MW_ASSERT(sizeof(struct file) <= MW_PAGE, "names fit a page");

static struct file *file, theirs; /* theirs: a copy, checked; the old program may write to its own meanwhile */
static uint8_t *base;
static bool opened;
static uint32_t asked;
static char misfit[64];

int state_make(uint32_t slots)
{
	uint64_t bytes = FIXED_BYTES + (uint64_t)slots * SLOT_BYTES;
	void *at;
	int fd = memfd_make_plain("mwcomms-ins", bytes, &at);

	if (fd < 0)
		return fd;
	base = at;
	file = at;
	*file = (struct file){ .magic = MAGIC, .version = STATE_VERSION, .slots = slots, .bytes = bytes, .used = MW_PAGE };
	return fd;
}

int state_open(int fd)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)MW_PAGE)
		return -EINVAL;
	at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	memcpy(&theirs, at, sizeof(theirs));
	base = at;
	file = &theirs;
	opened = true;
	if (file->magic == MAGIC && file->version == STATE_VERSION && file->bytes == (uint64_t)st.st_size && file->count <= BLOCKS_MAX)
		return 0;
	snprintf(misfit, sizeof(misfit), "take over a state of version %u: its own is %u", file->magic == MAGIC ? file->version : 0, STATE_VERSION);
	return -EPROTO;
}

uint32_t state_slots(void)
{
	return file->slots;
}

static struct block *find(const char *name)
{
	for (uint32_t i = 0; i < file->count; i++)
		if (!strncmp(file->block[i].name, name, NAME_BYTES))
			return &file->block[i];
	return NULL;
}

static void *found(const char *name, size_t bytes)
{
	struct block *b = find(name);

	asked++;
	if (b && b->bytes == bytes && b->offset <= file->bytes && bytes <= file->bytes - b->offset)
		return base + b->offset;
	snprintf(misfit, sizeof(misfit), "take over `%s` of %llu bytes: its own has %zu", name, b ? (unsigned long long)b->bytes : 0, bytes);
	return NULL;
}

void *state_block(const char *name, size_t bytes)
{
	uint64_t whole = (bytes + MW_PAGE - 1) & ~(uint64_t)(MW_PAGE - 1);
	struct block *b = &file->block[file->count];

	if (opened)
		return found(name, bytes);
	if (file->count == BLOCKS_MAX || whole > file->bytes - file->used)
		return NULL;
	*b = (struct block){ .bytes = bytes, .offset = file->used };
	memcpy(b->name, name, strnlen(name, NAME_BYTES - 1));
	file->used += whole;
	file->count++;
	return base + b->offset;
}

int state_complete(void)
{
	if (asked == file->count)
		return 0;
	snprintf(misfit, sizeof(misfit), "take over a state of %u blocks: its own has %u", file->count, asked);
	return -EPROTO;
}

const char *state_misfit(void)
{
	return misfit;
}
