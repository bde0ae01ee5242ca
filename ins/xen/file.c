// SPDX-License-Identifier: Apache-2.0
/*
 * file.c - the carrier `file`: the other machine's pages are in a file, a ref is a page's number. It is /dev/mwcomms-ins, which
 * also notifies (read, write, poll), or a test's memory file and a socket to be told by.
 * Trust: refs beyond a memory file are refused here, since the kernel would let them be mapped; a device checks by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan/wire.h"
#include "ins/xen/carrier.h"

static int pages_fd = -1, news_fd = -1;
static uint64_t pages_end; /* of a file that has an end */

static int file_map(void *at, const uint32_t *refs, uint32_t pages)
{
	for (uint32_t i = 0, n; i < pages; i += n) {
		void *to = (uint8_t *)at + (size_t)i * MW_PAGE;

		for (n = 1; i + n < pages && refs[i + n] == refs[i] + n; n++)
			;
		if ((pages_end && (uint64_t)refs[i] + n > pages_end) ||
		    mmap(to, (size_t)n * MW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, pages_fd, (off_t)refs[i] * MW_PAGE) == MAP_FAILED) {
			int e = pages_end && (uint64_t)refs[i] + n > pages_end ? EINVAL : errno;

			carrier_file.unmap(at, refs, i);
			return -e;
		}
	}
	return 0;
}

static void file_unmap(void *at, const uint32_t *refs, uint32_t pages)
{
	(void)refs;
	if (pages && mmap(at, (size_t)pages * MW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(1); /* what is mapped there is not ours any more */
}

static int file_fd(void)
{
	return news_fd;
}

static bool file_news(void)
{
	uint64_t word;
	ssize_t n = read(news_fd, &word, sizeof(word));

	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void file_notify(void)
{
	static const uint64_t one = 1;

	if (write(news_fd, &one, sizeof(one)) < 0)
		return; /* full: it has not looked at the last one yet; or it is gone, which news() tells */
}

const struct carrier carrier_file = { "file", file_map, file_unmap, file_fd, file_news, file_notify };

int file_open(const char *spec)
{
	char *end;
	struct stat st;

	pages_fd = (int)strtol(spec, &end, 10);
	if (end != spec && *end == ',')
		news_fd = (int)strtol(end + 1, &end, 10);
	else
		news_fd = pages_fd = open(spec, O_RDWR | O_CLOEXEC);
	if (pages_fd < 0 || news_fd < 0)
		return -errno;
	if (fstat(pages_fd, &st) < 0 || fcntl(news_fd, F_SETFL, O_NONBLOCK | O_RDWR) < 0)
		return -errno;
	pages_end = S_ISREG(st.st_mode) ? (uint64_t)st.st_size / MW_PAGE : 0;
	return 0;
}
