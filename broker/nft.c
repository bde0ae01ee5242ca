/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs an application's nftables rules through libnftables.
 * Trust: believes the kernel and libnftables, whose complaints go to a person only; the name and the plan were checked.
 */
#include "broker/nft.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/complaint.h"

/* libnftables opens its netlink socket without close-on-exec; a child that kept it would keep the table alive. The socket,
 * which is the only one of its kind but `other`. */
static int cloexec_netfilter(int other)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	int found = -ENOENT;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		int fd = atoi(e->d_name), value;
		socklen_t bytes = sizeof(value);

		if (fd == other || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &bytes) || value != AF_NETLINK)
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &bytes) || value != NETLINK_NETFILTER)
			continue;
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		found = fd;
	}
	closedir(dir);
	return found;
}

static bool table_exists(struct nft_ctx *ctx, const char *name)
{
	char list[64 + PLAN_NAME_MAX];

	snprintf(list, sizeof(list), "list table inet mw-%s\n", name);
	return !nft_run_cmd_from_buffer(ctx, list);
}

/* *fd: its socket. */
static int start(struct nft_ctx **out, int *fd, int other, char *why, size_t why_bytes)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

	if (!ctx) {
		snprintf(why, why_bytes, "cannot start libnftables");
		return -ENOMEM;
	}
	nft_ctx_buffer_error(ctx);
	nft_ctx_buffer_output(ctx);
	*fd = cloexec_netfilter(other);
	if (*fd < 0) {
		snprintf(why, why_bytes, "cannot read /proc/self/fd: %s; is /proc mounted?", strerror(-*fd));
		nft_ctx_free(ctx);
		return *fd;
	}
	*out = ctx;
	return 0;
}

int nft_open(struct nft *out, const char *name, char *why, size_t why_bytes)
{
	struct nft_ctx *ctx;
	int fd, err = start(&ctx, &fd, -1, why, why_bytes);

	if (err)
		return err;
	if (table_exists(ctx, name)) {
		snprintf(why, why_bytes, "an application named %s already has a network on this host (nftables table inet mw-%s); "
			 "choose another --name", name, name);
		nft_ctx_free(ctx);
		return -EEXIST;
	}
	*out = (struct nft){ .ctx = ctx, .fd = fd };
	return 0;
}

/* What the dead one had asked and not read yet is read: else it would be taken for the answer to something of ours. */
static void drain(int fd)
{
	char rest[16384];

	while (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
}

int nft_adopt(struct nft *out, int fd, char *why, size_t why_bytes)
{
	struct nft_ctx *ctx;
	int own, err = start(&ctx, &own, fd, why, why_bytes);

	if (err)
		return err;
	drain(fd);
	if (dup3(fd, own, O_CLOEXEC) < 0) {
		err = -errno;
		snprintf(why, why_bytes, "cannot take over the nftables socket: %s", strerror(-err));
		nft_ctx_free(ctx);
		return err;
	}
	close(fd);
	*out = (struct nft){ .ctx = ctx, .has_table = true, .fd = own };
	return 0;
}

/* The plan's text, the caller's to free. */
static int text_new(char **out, const struct plan *plan, char *why, size_t why_bytes)
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);
	int err;

	if (!file) {
		snprintf(why, why_bytes, "no memory for the nftables rules of %s", plan->name);
		return -ENOMEM;
	}
	err = plan_write(file, plan);
	if (fclose(file) && !err)
		err = -ENOMEM;
	if (err) {
		snprintf(why, why_bytes, "cannot write the nftables rules of %s: %s", plan->name, strerror(-err));
		free(text);
		return err;
	}
	*out = text;
	return 0;
}

int nft_apply(struct nft *nft, const struct plan *plan, char *why, size_t why_bytes)
{
	struct plan now = *plan;
	char *text, complaint[128];
	int err;

	now.first = !nft->has_table;
	err = text_new(&text, &now, why, why_bytes);
	if (err)
		return err;
	if (nft_run_cmd_from_buffer(nft->ctx, text)) {
		complaint_text(nft->ctx, complaint, sizeof(complaint));
		snprintf(why, why_bytes, "nftables refused table inet mw-%s: %s; see: nft list ruleset", now.name, complaint);
		err = -EIO;
	} else {
		nft->has_table = true;
	}
	free(text);
	return err;
}

/* By its name too: the depot has the socket as well. */
void nft_close(struct nft *nft, const char *name)
{
	char text[64 + PLAN_NAME_MAX];

	snprintf(text, sizeof(text), "delete table inet mw-%s\n", name);
	if (nft->has_table)
		(void)nft_run_cmd_from_buffer(nft->ctx, text);
	if (nft->ctx)
		nft_ctx_free(nft->ctx);
	*nft = (struct nft){ 0 };
}
