// SPDX-License-Identifier: Apache-2.0
/*
 * state.c - see state.h: a page of names, then the blocks, each on pages of its own. Untouched pages cost nothing.
 * Trust: as in the header.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ins/state.h"
#include "link/memfd.h"

#define MAGIC      0x3154534e49574d00ull
#define BLOCKS_MAX 64
#define NAME_MAX_  24
#define SLOT_BYTES 8192u /* more than all blocks have for one slot */
#define FIXED_BYTES (64ull << 20)

struct block {
	char name[NAME_MAX_];
	uint64_t bytes, offset;
};

struct file {
	uint64_t magic;
	uint32_t version, slots;
	uint64_t bytes, used;
	uint32_t count, pad;
	struct block block[BLOCKS_MAX];
};
MW_ASSERT(sizeof(struct file) <= MW_PAGE, "names fit a page");

static struct file *file;
static const char *misfit = "";

int state_make(uint32_t slots)
{
	uint64_t bytes = FIXED_BYTES + (uint64_t)slots * SLOT_BYTES;
	void *base;
	int fd = memfd_make_plain("mwcomms-ins", bytes, &base);

	if (fd < 0)
		return fd;
	file = base;
	*file = (struct file){ .magic = MAGIC, .version = STATE_VERSION, .slots = slots, .bytes = bytes, .used = MW_PAGE };
	return fd;
}

int state_open(int fd)
{
	struct stat st;
	void *base;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)MW_PAGE)
		return -EPROTO;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	file = base;
	return file->magic == MAGIC && file->version == STATE_VERSION && file->bytes == (uint64_t)st.st_size &&
			       file->count <= BLOCKS_MAX ? 0 : -EPROTO;
}

uint32_t state_slots(void)
{
	return file->slots;
}

static struct block *find(const char *name)
{
	for (uint32_t i = 0; i < file->count; i++)
		if (!strncmp(file->block[i].name, name, NAME_MAX_))
			return &file->block[i];
	return NULL;
}

void *state_block(const char *name, size_t bytes)
{
	struct block *b = find(name);

	misfit = name;
	if (b)
		return b->bytes == bytes && b->offset <= file->bytes && bytes <= file->bytes - b->offset ? (uint8_t *)file + b->offset : NULL;
	if (file->count == BLOCKS_MAX || bytes > file->bytes - file->used)
		return NULL;
	b = &file->block[file->count];
	*b = (struct block){ .bytes = bytes, .offset = file->used };
	memcpy(b->name, name, strnlen(name, NAME_MAX_ - 1));
	file->used += (bytes + MW_PAGE - 1) & ~(uint64_t)(MW_PAGE - 1);
	file->count++;
	return (uint8_t *)file + b->offset;
}

const char *state_misfit(void)
{
	return misfit;
}
