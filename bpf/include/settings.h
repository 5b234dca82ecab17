/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * settings.h: what user space tells the pre-filter, and how it changes.
 *
 * There are two of everything, and one word, rs_active, says which one counts.
 * User space fills the other one and then stores the word: a packet is judged by
 * the old settings or by the new ones, never by some of each.
 */
#ifndef RINGSIDE_SETTINGS_H
#define RINGSIDE_SETTINGS_H

#include "types.h"

#include <bpf/bpf_helpers.h>

/* What a port is; a byte of flags for each of the 65,536. */
#define RS_PORT_UDP 1    /* SIP over UDP */
#define RS_PORT_TCP 2    /* SIP over TCP, TLS or WebSocket */
#define RS_PORT_SCTP 4   /* SIP over SCTP */
#define RS_PORT_RTP 8    /* media */
#define RS_PORT_OPEN 16  /* a tunnel in UDP that the filter opens */
#define RS_PORT_OTHER 32 /* one that user space alone can open */
#define RS_PORT_EITHER 64 /* the source port alone tells of the tunnel, too */
#define RS_PORT_OWN 128   /* traffic of the appliance's own may have it */

/* The same in short, two bits for each port: is any of those set that concern UDP, but for RTP; is RTP. */
#define RS_SHORT_OTHER 1
#define RS_SHORT_RTP 2

/* rs_settings.flags */
#define RS_PASS_OTHER 1 /* what no rule names is passed */
#define RS_METERING 2   /* there is a meter */
#define RS_DENY 4       /* there is a prefix to deny */
#define RS_ALLOW 8      /* there is a prefix to allow: what none matches is dropped */
#define RS_SHARED 16    /* there are more CPUs than shares of hits */
#define RS_OWN_ANY 32   /* traffic of the appliance's own may have any port */

/* Which RTP counts as such; port ranges, endpoints that SDP named, or both. */
enum rs_rtp_rule {
	RS_RTP_NONE = 0,
	RS_RTP_RANGE,   /* one of its ports is in a range */
	RS_RTP_LEARNED, /* one of its endpoints was learned */
	RS_RTP_EITHER,
	RS_RTP_BOTH,
};

/* Classes of SIP requests that may be limited. Dialogs of INVITE are in none. */
enum rs_class_of_request {
	RS_REGISTER = 0,
	RS_OPTIONS,
	RS_METHOD, /* any other */
	RS_LIMITS,
};

/* rs_limit is a token bucket, as a generic cell rate algorithm: times instead of tokens. */
struct rs_limit {
	__u64 interval; /* ns that one packet of a source takes; 0: no limit */
	__u64 burst;    /* ns that a source may be ahead of its time */
	__u64 total_interval, total_burst; /* the same for all sources together */
	__u64 sample;   /* beyond the limit 1 in so many passes; 0: none */
};

#define RS_MASKS 8

/* What of a 5-tuple is compared; rs_settings.masks. */
#define RS_OWN_PROTO 1
#define RS_OWN_A 2
#define RS_OWN_B 4
#define RS_OWN_APORT 8
#define RS_OWN_BPORT 16

#define RS_MAX_CPUS 256

struct rs_settings {
	__u32 flags;
	__u32 rtp;      /* enum rs_rtp_rule */
	__u32 n_cpus;   /* CPUs that share what is passed; 0: no steering */
	__u32 prefixes; /* how many there are */
	__u32 shares;   /* in how many parts their hits are counted: a power of two */
	__u32 n_masks;
	__u8 masks[RS_MASKS]; /* kinds of 5-tuples in rs_own */
	__u32 cpus[RS_MAX_CPUS];
	struct rs_limit limits[RS_LIMITS];
	__u8 ports[65536]; /* RS_PORT_… */
	__u8 brief[65536 / 4]; /* RS_SHORT_…: a quarter of the cache that ports would take */
	/* By list: a bit for the first half of each IPv4 address, set where a prefix on the list has any of that. */
	__u8 halves[2][65536 / 8];
};

/* rs_active is which settings count: 0 or 1. */
volatile __u32 rs_active;

/* rs_offset is what the time since the Unix epoch is ahead of bpf_ktime_get_ns, ns. */
volatile __u64 rs_offset;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct rs_settings);
} rs_settings_of SEC(".maps");

/* rs_tuple is traffic of the appliance's own, in either direction. What its mask leaves out is 0. */
struct rs_tuple {
	struct rs_addr a, b;
	__be16 aport, bport;
	__u8 proto;
	__u8 mask;
	__u8 active; /* which settings it belongs to */
	__u8 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct rs_tuple);
	__type(value, __u8);
} rs_own SEC(".maps");

/* Prefixes are kept in tries, one map for each list. */
struct rs_prefix4 {
	__u32 bits;
	__be32 addr;
};

struct rs_prefix6 {
	__u32 bits;
	__be32 addr[4];
};

struct rs_traffic {
	__u64 packets, bytes;
};

/* Places of the lists in the maps of maps, with 2 * rs_active. */
#define RS_LIST_DENY 0
#define RS_LIST_ALLOW 1

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(key_size, sizeof(struct rs_prefix4));
		__uint(value_size, sizeof(__u32)); /* number of the prefix */
	});
} rs_lists4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(key_size, sizeof(struct rs_prefix6));
		__uint(value_size, sizeof(__u32));
	});
} rs_lists6 SEC(".maps");

/*
 * rs_hits counts by prefix, in shares so that CPUs do not wait for one another:
 * share * prefixes + number. It is not a per-CPU map, since those cannot change
 * their size inside of another map.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_INNER_MAP);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct rs_traffic));
	});
} rs_hits SEC(".maps");

#endif
