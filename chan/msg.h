/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * msg.h - control messages: one request, one reply, each one record.
 * Trust: each of the checks below copies a record out of wherever it lies and refuses every length, opcode or padding that the
 * table does not name; what they leave is structurally right, no more. Slots and states are the receiver's to check.
 */
#ifndef MW_CHAN_MSG_H
#define MW_CHAN_MSG_H

#include "wire.h"

#define MW_OP_HELLO      1u  /* first on a connection; the reply carries the arena and the kick descriptor */
#define MW_OP_SOCKET     2u  /* carries the INS's end of the doorbell */
#define MW_OP_BIND       3u
#define MW_OP_LISTEN     4u
#define MW_OP_CONNECT    5u
#define MW_OP_SETSOCKOPT 6u
#define MW_OP_GETSOCKOPT 7u
#define MW_OP_STREAM     8u  /* carries a new doorbell that takes the old one's place: MW_LANE_STREAM from now on */
#define MW_OP_FLUSH      9u  /* datagrams: send all that waits on the doorbell, and say what became of one */
#define MW_OP_SHUTDOWN   10u /* datagrams */
#define MW_OP_IOCTL      11u
#define MW_OP_AGAIN      12u /* carries a new doorbell for a socket whose connect() failed; the reply names its new slot */
#define MW_OP_URGENT     13u /* TCP: the urgent byte */
#define MW_OP_GRANT      14u /* door: rings for a slot that has none */
#define MW_OP_REVOKE     15u /* door: takes them back from a slot that is not in use */
#define MW_OP_VERB       16u /* door: an operator's order or question */
#define MW_OP_NUM        17u

#define MW_VALUE_MAX 40960u /* bytes of an option's value; a classic filter has up to 4096 instructions of 8 bytes */

#define MW_TYPE_STREAM 1u
#define MW_TYPE_DGRAM  2u
#define MW_TYPE_LITE   3u /* asked for, and of a flow: a UDP-Lite socket, else like any of MW_TYPE_DGRAM */

struct mw_req_hello {
	uint32_t version;
	uint32_t pad;
};

struct mw_req_socket {
	uint64_t cookie; /* SO_COOKIE of the application's end */
	uint16_t family; /* MW_FAMILY_ */
	uint16_t type;   /* MW_TYPE_ */
	uint32_t lane;   /* datagrams: MW_LANE_; other sockets' is their doorbell's type */
};

struct mw_req_stream { /* of MW_OP_AGAIN too */
	uint64_t cookie; /* SO_COOKIE of the application's end of the new doorbell */
};

struct mw_req_listen {
	int32_t backlog;
	uint32_t pad;
};

struct mw_req_flush {
	uint32_t tag; /* mw_dgram.tag */
	uint32_t pad;
};

struct mw_req_shutdown {
	uint32_t how; /* 0 receiving, 1 sending, 2 both */
	uint32_t pad;
};

#define MW_URGENT_TAKE 0u /* the reply's `length` is the byte, or -1: none will come */
#define MW_URGENT_PEEK 1u
#define MW_URGENT_SEND 2u /* stream lane: behind all that was written before */
#define MW_URGENT_OWNER 3u /* carries one end of a pair, in which the other waits, whose owner shall have SIGURG */

struct mw_req_urgent {
	uint32_t what; /* MW_URGENT_ */
	uint32_t byte; /* to send; else 0 */
};

/*
 * The refs of the pages follow as the value (u32 each): rx's, then tx's. A ref is what the carrier calls a page: a grant
 * reference, or a page's number in a file. Both sizes are powers of two, in pages.
 */
struct mw_req_grant {
	uint32_t rx_pages, tx_pages;
};

struct mw_req_revoke {
	uint64_t pad;
};

#define MW_NO_VALUE  1u /* the caller gave no address */
#define MW_NO_LENGTH 2u /* get: its length variable cannot be read */
#define MW_NO_PRIVILEGE 4u /* set: on behalf of a process without any, whatever the asking one has */

/*
 * As the value MW_VERB_BYTES follow, and come back: a record of link/telem.h (struct verb_msg), its value, zeros. Its seq is this
 * request's in the answer.
 */
struct mw_req_verb {
	uint64_t pad;
};
#define MW_VERB_BYTES 352u

struct mw_req_option {
	int32_t level, name; /* Linux numbers: the option's own ABI. MW_OP_IOCTL: the request, and 0 */
	int32_t bytes;       /* as the caller said, which may be any number */
	uint32_t have;       /* bytes of the caller's memory that there are, and that follow this struct */
	uint32_t absent;     /* MW_NO_ */
	uint32_t pad;
};

struct mw_req {
	uint16_t op;
	uint16_t bytes; /* of the whole record */
	uint32_t seq;   /* echoed in the reply */
	uint32_t slot, gen;
	union {
		struct mw_req_hello hello;
		struct mw_req_socket socket;
		struct mw_addr addr; /* bind, connect; family NONE: connect's AF_UNSPEC */
		struct mw_req_listen listen;
		struct mw_req_option option;
		struct mw_req_stream stream;
		struct mw_req_flush flush;
		struct mw_req_shutdown shutdown;
		struct mw_req_urgent urgent;
		struct mw_req_grant grant;
		struct mw_req_revoke revoke;
		struct mw_req_verb verb;
	} u;
};
MW_ASSERT(offsetof(struct mw_req, u) == 16, "mw_req.u");
MW_ASSERT(sizeof(struct mw_req) == 48, "mw_req");

struct mw_reply {
	uint16_t op;
	uint16_t bytes;
	uint32_t seq;
	int32_t status;  /* 0 or a negative Linux errno */
	uint32_t slot, gen;
	uint32_t value_bytes; /* that follow: the beginning of the caller's memory as the option's answer leaves it */
	int32_t length;       /* option's length as the answer leaves it; MW_OP_URGENT: the byte */
};
MW_ASSERT(sizeof(struct mw_reply) == 28, "mw_reply");

/* On a listener's doorbell: one accepted connection, with the application's end of its doorbell attached. */
struct mw_accepted {
	uint32_t slot, gen;
	uint32_t ins;  /* whose slot: the sender's number among the application's */
	uint32_t pad;  /* zero */
	struct mw_addr peer;
};
MW_ASSERT(sizeof(struct mw_accepted) == 48, "mw_accepted");

/* mw_dgram.kind */
#define MW_DG_DATA  1u
#define MW_DG_ERROR 2u /* ins: an error waits in the slot; no payload */

/* mw_dgram.flags */
#define MW_DGF_MORE      0x1u /* app: MSG_MORE */
#define MW_DGF_DONTROUTE 0x2u /* app: MSG_DONTROUTE */
#define MW_DGF_CONFIRM   0x4u /* app: MSG_CONFIRM */
#define MW_DGF_CTRUNC    0x8u /* ins: there was more control data */
#define MW_DGF_ALL       0xfu

/*
 * On the stream lane a record towards the application is the payload alone, so that a plain read has it. Its header is in
 * the memory of the rx ring, at a place that two descriptors say which come with the record: each is a digit, which its
 * F_GETSIG is, counted from 1. Who reads without asking for descriptors drops them.
 */
#define MW_DG_PLACES 192u /* more records than ins lets wait */
#define MW_DG_DIGITS 16u

#define MW_DGRAM_CONTROL 256u
#define MW_DGRAM_PAYLOAD 65535u /* no datagram carries more */

/*
 * A datagram's header on its socket's doorbell, both ways; the payload follows. Control data is Linux's own ABI, as the
 * values of options are: { u64 length with this header, i32 level, i32 type, bytes } each, padded to 8.
 */
struct mw_dgram {
	uint16_t kind;          /* MW_DG_ */
	uint16_t flags;         /* MW_DGF_ */
	uint32_t tag;           /* app: what MW_OP_FLUSH will ask for, or 0 */
	uint32_t control_bytes; /* used of control, a multiple of 8; the rest of it is zero */
	uint32_t pad;           /* zero */
	struct mw_addr peer;    /* ins: whence; app: whither, or none */
	uint8_t control[MW_DGRAM_CONTROL];
};
MW_ASSERT(sizeof(struct mw_dgram) == 304, "mw_dgram");

/* Bytes of a request's record but for an option's value, header included; 0 for an opcode that does not exist. */
uint32_t msg_request_bytes(uint32_t op);

/* Sets op, bytes and seq of a request whose other fields are filled. */
void msg_request_seal(struct mw_req *q, uint32_t op, uint32_t seq);

/*
 * Copies and checks one request of n bytes at `from`. 0, or -EPROTO. An option's value is not copied: it is the last
 * u.option.have bytes of the record.
 */
int msg_request_check(struct mw_req *q, const void *from, size_t n);

/*
 * Copies and checks one reply to `asked`. 0, or -EPROTO: also when it answers another request, or brings more than the
 * request had. The value is not copied: it is the record's last value_bytes bytes.
 */
int msg_reply_check(struct mw_reply *r, const void *from, size_t n, const struct mw_req *asked);

/* Copies and checks one accepted connection. 0, or -EPROTO. */
int msg_accepted_check(struct mw_accepted *c, const void *from, size_t n);

/* Copies and checks the header of a datagram's record of n bytes, control data included. 0, or -EPROTO. */
int msg_dgram_check(struct mw_dgram *d, const void *from, size_t n);

/* One piece of control data. */
struct mw_control {
	uint64_t bytes;  /* with this header */
	int32_t level, type;
};

/*
 * Reads the piece at *at and moves *at behind it: 1, 0 at the end, or -EPROTO. What follows the header is at
 * control + the old *at + sizeof(struct mw_control), c->bytes - sizeof(struct mw_control) bytes, all within `bytes`.
 */
int msg_control_next(struct mw_control *c, const void *control, uint32_t bytes, uint32_t *at);

/* True for an address whose family, padding and unused bytes are as the wire wants them. */
bool msg_addr_ok(const struct mw_addr *a, bool none_allowed);

#endif
