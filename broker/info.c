// SPDX-License-Identifier: Apache-2.0
/*
 * info.c - see info.h.
 * Trust: as in the header. Addresses and figures are an INS's word, and only told on.
 */
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/info.h"
#include "lib/fdpass.h"

static json_t *ports(void)
{
	const struct plan_port *list;
	size_t n = publish_list(&list);
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[80];

		plan_port_text(text, sizeof(text), &list[i]);
		json_array_append_new(a, json_pack("{s:s,s:i,s:i,s:s}", "host", text, "host_port", list[i].host_port, "port",
						   list[i].ins_port, "proto", list[i].proto == IPPROTO_UDP ? "udp" : "tcp"));
	}
	return a;
}

static json_t *words(char *const *list)
{
	json_t *a = json_array();

	for (; *list; list++)
		json_array_append_new(a, json_string(*list));
	return a;
}

static uint64_t all_sockets(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < inss_count(); i++)
		n += mw_load(MW_WORD(&tele_header(&inss_at(i)->view)->sockets));
	return n;
}

/* To be freed; NULL without memory. */
static char *text_of(const struct info *i, const struct one_ins *ins)
{
	const struct plan_addrs *a = i->network ? net_addrs(i->network, ins->number) : NULL;
	const char *address = a ? a->ins4 : ins->address;
	char netflow[REGISTRY_PATH_MAX], *text;
	json_t *j;

	netflow_where(i->o->name, &i->o->netflow, netflow);
	j = json_pack("{s:s,s:i,s:i,s:i,s:I,s:s,s:s,s:I,s:o,s:o,s:b}", "name", i->o->name, "pid", (int)i->front, "ins_pid",
		      (int)(i->process_of ? i->process_of(ins) : ins->child.pid), "app_pid", (int)i->app, "netns", (json_int_t)i->netns,
		      "net", i->net, "lane", i->lane, "started", (json_int_t)i->started, "published", ports(), "command", words(i->command),
		      "host_loopback", i->o->host_loopback);
	json_object_update_new(j, json_pack("{s:i,s:i,s:I,s:I,s:I}", "names_pid", (int)i->names, "telem_pid", (int)ins->telem.helper.pid,
					    "ins", (json_int_t)ins->number, "sockets", (json_int_t)all_sockets(), "ins_count",
					    (json_int_t)inss_count()));
	json_object_set_new(j, "netflow", json_string(netflow));
	if (*address)
		json_object_set_new(j, "address", json_string(address));
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}

void info_show(int listener, const struct info *i)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	for (size_t n = 0; fd >= 0 && n < inss_count(); n++) {
		const struct one_ins *ins = inss_at(n);
		char *text = text_of(i, ins);
		int fds[3];

		telem_views(ins, fds);
		if (text)
			fdpass_send(fd, text, strlen(text) + 1, fds, 3, MSG_DONTWAIT);
		free(text);
		for (int j = 0; j < 3; j++)
			close(fds[j]);
	}
	if (fd >= 0)
		close(fd);
}
