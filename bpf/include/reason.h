/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * reason.h: why a frame was given its verdict, and how often.
 *
 * Each frame is counted under exactly one reason, and each reason has one
 * verdict: the sum of all is what the program has received.
 */
#ifndef RINGSIDE_REASON_H
#define RINGSIDE_REASON_H

#include "settings.h"

/* The verdicts are ranges of reasons. dataplane/xdp has the names, in the same order. */
enum rs_reason {
	/* dropped */
	RS_OWN = 0,       /* traffic of the appliance's own */
	RS_DENIED,        /* an address is denied */
	RS_NOT_ALLOWED,   /* no address is allowed */
	RS_NOTHING,       /* no rule names it */
	RS_FATE_DROP,     /* later fragment of a datagram that was dropped */
	RS_OVER_REGISTER, /* beyond the limit of its class; in the order of rs_class_of_request */
	RS_OVER_OPTIONS,
	RS_OVER_METHOD,
	RS_NO_HEADROOM, /* metered, but there was no room for its note */
	RS_FEED_FULL,   /* metered, but there was no room in the feed */
	RS_RTP_SHED,    /* RTP for the meter in user space: no room in the feed */
	/* metered and dropped */
	RS_METERED,
	/* metered, put into the feed, and dropped */
	RS_FED_HEADER, /* cut */
	RS_FED_FULL,
	RS_FED_SAMPLE, /* as RS_METERED_SAMPLE */
	/* put into the feed and dropped, where there is no meter */
	RS_FED_RTP,
	/* metered, and passed with a note */
	RS_METERED_HEADER, /* cut */
	RS_METERED_FULL,
	RS_METERED_SAMPLE, /* events, and samples for the search of copies */
	/* cut and passed: socket filters only, a cut frame says there how long it was */
	RS_CUT,
	/* passed */
	RS_SIP,
	RS_SAMPLED_REGISTER, /* beyond the limit, but one of the samples */
	RS_SAMPLED_OPTIONS,
	RS_SAMPLED_METHOD,
	RS_RTP,         /* where there is neither meter nor feed */
	RS_RTP_NO_ROOM, /* the meter's table is full */
	RS_RTP_BUSY,    /* another CPU had the stream's place for too long */
	RS_RTCP,
	RS_STUN,
	RS_ENDPOINT,      /* anything else of an endpoint that SDP named */
	RS_FATE_PASS,    /* later fragment of a datagram that was passed */
	RS_FATE_UNKNOWN, /* later fragment, and nothing is known of its first */
	RS_RTP_FRAGMENT, /* first fragment */
	RS_OTHER_PASSED, /* no rule names it, and the settings say that it passes */
	/* passed, since the filter does not understand it: user space may */
	RS_LINK,      /* link layer, or a tag above it */
	RS_BAD_IP,    /* IP header that makes no sense */
	RS_EXTENSION, /* extension headers, too many or wrong */
	RS_PROTOCOL,  /* no transport that has ports */
	RS_TUNNEL,    /* tunnel of another kind, or one that makes no sense */
	RS_NESTED,    /* tunnel in a tunnel */
	RS_BAD_UDP,   /* UDP or RTP header that makes no sense */
	RS_TRUNCATED, /* ends, or leaves the first buffer, in the headers */
	RS_REASONS,

	RS_OK = RS_REASONS, /* no reason yet: go on */
	RS_IS_RTP,          /* the meter decides */
};

#define RS_LAST_DROP RS_RTP_SHED
#define RS_LAST_KEPT RS_FED_RTP /* so far nothing goes on to the host */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RS_REASONS);
	__type(key, __u32);
	__type(value, struct rs_traffic);
} rs_counts SEC(".maps");

static __always_inline void rs_count(__u32 reason, __u32 bytes)
{
	struct rs_traffic *t = bpf_map_lookup_elem(&rs_counts, &reason);

	if (t) {
		t->packets++;
		t->bytes += bytes;
	}
}

#endif
