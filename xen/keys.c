// SPDX-License-Identifier: Apache-2.0
/*
 * keys.c - see keys.h.
 * Trust: none needed; constants.
 */
#include "xen/keys.h"

const struct key keys_ins[] = {
	{ "ins_dom_id", SIDE_INS },
	{ "ins_version", SIDE_INS },
	{ "ins_slots", SIDE_INS },
	{ "ins_state", SIDE_INS },
	{ "vm_evt_chn_is_bound", SIDE_INS },
	{ "ip_addrs", SIDE_INS },
	{ "heartbeat", SIDE_INS },
	{ "network_stats", SIDE_INS },
	{ "listening_ports", SIDE_INS },
	{ "sockopts", SIDE_INS },
	{ "load", SIDE_INS },
	{ "pvm_version", SIDE_PVM },
	{ "pvm_state", SIDE_PVM },
	{ "gnt_ref_1", SIDE_PVM },
	{ "gnt_ref_chunks", SIDE_PVM },
	{ "vm_evt_chn_prt", SIDE_PVM },
	{ "address", SIDE_DOM0 },
	{ "drain", SIDE_DOM0 },
	{ "made", SIDE_DOM0 },
};
const size_t keys_ins_count = sizeof(keys_ins) / sizeof(keys_ins[0]);
