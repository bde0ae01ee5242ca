// SPDX-License-Identifier: Apache-2.0
/*
 * memfd.c - see memfd.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "link/memfd.h"

static int size_and_seal(int fd, uint64_t bytes)
{
	if (ftruncate(fd, (off_t)bytes) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

int memfd_make_plain(const char *name, uint64_t bytes, void **base)
{
	int fd, r;

	if (!bytes)
		return -EINVAL;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = size_and_seal(fd, bytes);
	if (r == 0) {
		*base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
		r = *base == MAP_FAILED ? -errno : 0;
	}
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int memfd_make(struct mw_view *v, uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes)
{
	uint64_t bytes = arena_bytes(slots, rx_bytes, tx_bytes);
	void *base;
	int fd = memfd_make_plain("mwcomms", bytes, &base);

	if (fd >= 0)
		arena_init(v, base, bytes, slots, rx_bytes, tx_bytes); /* of a size that was just found possible */
	return fd;
}

int memfd_make_tele(struct mw_tele_view *v, uint32_t slots)
{
	uint64_t bytes = tele_bytes(slots);
	void *base;
	int fd = memfd_make_plain("mwcomms-telemetry", bytes, &base);

	if (fd >= 0)
		tele_init(v, base, bytes, slots);
	return fd;
}

static int map(int fd, bool writable, void **base, uint64_t *bytes)
{
	off_t end = lseek(fd, 0, SEEK_END); /* which a device says, too */

	if (end < 0)
		return -errno;
	if (end < (off_t)MW_PAGE)
		return -EPROTO;
	*bytes = (uint64_t)end;
	*base = mmap(NULL, *bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	return *base == MAP_FAILED ? -errno : 0;
}

int memfd_map(struct mw_view *v, int fd, bool writable)
{
	uint64_t bytes;
	void *base;
	int r = map(fd, writable, &base, &bytes);

	if (r == 0 && (r = arena_check(v, base, bytes)) < 0)
		munmap(base, bytes);
	return r;
}

int memfd_map_tele(struct mw_tele_view *v, int fd, bool writable)
{
	uint64_t bytes;
	void *base;
	int r = map(fd, writable, &base, &bytes);

	if (r == 0 && (r = tele_check(v, base, bytes)) < 0)
		munmap(base, bytes);
	return r;
}
