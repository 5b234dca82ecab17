/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * types.h: what the kernel programs and the Go side have in common.
 *
 * Numbers are in host order unless a type says otherwise (__be…). Addresses
 * are IPv6, or IPv4 in its mapped form (RFC 4291 section 2.5.5.2), as in
 * dataplane/frame.
 */
#ifndef RINGSIDE_TYPES_H
#define RINGSIDE_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

/* rs_addr is an address: 16 bytes in network order. */
struct rs_addr {
	__be64 hi, lo;
};

/* rs_flow names a stream: transport addresses in the direction of its packets, and its SSRC. */
struct rs_flow {
	struct rs_addr src, dst;
	__be16 sport, dport;
	__u32 ssrc;
};

/* rs_rtp is what metering and recording need of one RTP packet. */
struct rs_rtp {
	__u64 time; /* arrival, ns since the Unix epoch */
	__u32 ts;   /* RTP timestamp */
	__u32 len;  /* payload octets on the wire, without header, CSRCs, extension and padding */
	__u16 seq;
	__u8 pt;
	__u8 marker;
	__u8 ttl;   /* of the inner IP header */
	__u8 dscp;
	__s16 vlan; /* outermost VLAN id, -1: untagged */
};

/* What is to become of the RTP packets of a stream, beside metering them. */
enum rs_policy {
	RS_UNKNOWN = 0, /* no SDP has named the stream */
	RS_METER,       /* nothing: the counters suffice */
	RS_HEADER,      /* deliver up to the end of the RTP header */
	RS_FULL,        /* deliver whole */
};

/* Classes of payload types, as in docs/design/meter.md. */
enum rs_class {
	RS_MEDIA = 0,
	RS_EVENT,   /* telephone-event, RFC 4733 */
	RS_COMFORT, /* comfort noise, RFC 3389 */
};

/* rs_media_key is a transport address that SDP named. */
struct rs_media_key {
	struct rs_addr addr;
	__be16 port;
	__u16 zero[3];
};

#define RS_PAYLOADS 8

struct rs_payload {
	__u32 rate; /* clock rate, Hz; 0: not known */
	__u8 pt;
	__u8 class; /* enum rs_class */
	__u16 zero;
};

/* rs_media is what SDP said of a transport address, and what rules want of its call. */
struct rs_media {
	__u8 policy; /* enum rs_policy */
	__u8 n;      /* payloads that follow */
	__u16 zero;
	struct rs_payload payloads[RS_PAYLOADS];
};

/*
 * rs_note is put before a frame that the filter passes and that user space
 * could not understand without it: because it was cut, or metered. It looks like
 * an Ethernet header of the ethertype for local experiments (IEEE 802), so that
 * no protocol of the host takes the frame. What follows it is the frame as it
 * came in, or the beginning of it.
 */
#define RS_NOTE_TYPE 0x88b5
#define RS_NOTE_MAGIC 0x52535631 /* "RSV1" */

struct rs_note {
	__u8 dst[6], src[6]; /* zero: of no host */
	__be16 type;         /* RS_NOTE_TYPE */
	__u16 flags;         /* RS_NOTE_… */
	__u32 magic;         /* RS_NOTE_MAGIC */
	__u32 len;           /* of the frame on the wire, without this note */
	__u64 time;          /* arrival, ns since the Unix epoch */
};

#define RS_NOTE_METERED 1 /* the in-kernel meter has counted this RTP packet */
#define RS_NOTE_CUT 2     /* the frame was cut behind its headers */

_Static_assert(sizeof(struct rs_flow) == 40, "rs_flow");
_Static_assert(sizeof(struct rs_media_key) == 24, "rs_media_key");
_Static_assert(sizeof(struct rs_media) == 4 + 8 * RS_PAYLOADS, "rs_media");
_Static_assert(sizeof(struct rs_note) == 32, "rs_note");

#endif
