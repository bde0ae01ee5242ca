// SPDX-License-Identifier: Apache-2.0
/*
 * state_fuzz.c - libFuzzer target: any memory file as the state of another program's INS.
 * Trust: none. The first byte says what of its head is put right. What is taken from it lies within it.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "ins/state.c"

#include "test/fuzz/input.h"

#define BYTES (4 * MW_PAGE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const names[] = { "journal", "sockets", "options' values of every listener that there may be", "" };
	struct input in = { data, data + n };
	uint8_t how = next_byte(&in);
	struct file *f;
	void *at;
	int fd = memfd_make_plain("state", BYTES, &at);

	must(fd >= 0);
	f = at;
	next_bytes(&in, f, sizeof(*f));
	if (how & 1)
		f->magic = MAGIC, f->version = STATE_VERSION;
	if (how & 2)
		f->bytes = BYTES;
	for (uint32_t i = 0; i < 4 && how & 4; i++)
		memcpy(f->block[i].name, names[i], strnlen(names[i], NAME_BYTES - 1));
	asked = 0;
	base = NULL;
	if (state_open(fd) == 0) {
		must((how & 1 || f->magic == MAGIC) && file != f); /* its own copy */
		for (uint32_t i = 0; i < 4; i++) {
			size_t bytes = how & 8 ? f->block[i].bytes : next_u32(&in);
			uint8_t *block = state_block(names[i], bytes);

			must(!block || (block >= base && bytes <= BYTES && (size_t)(block - base) <= BYTES - bytes));
		}
		must(state_complete() == 0 || *state_misfit());
	}
	must(base && munmap(base, BYTES) == 0);
	must(strlen(state_misfit()) < sizeof(misfit));
	munmap(at, BYTES);
	close(fd);
	return 0;
}
