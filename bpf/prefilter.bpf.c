/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
//go:build ignore

/*
 * prefilter.bpf.c: one verdict for each frame of an interface.
 *
 * It is compiled twice. On an interface that is there for capturing it is an XDP
 * program, and what it drops never costs an skb. With RS_SOCKET it is a filter
 * of sockets, for interfaces that carry the host's own traffic: the same rules
 * then decide what the capture sees, and nothing else is touched.
 *
 * The order of the rules is that of rs_judge in include/rules.h.
 */
#include "include/rules.h"

#ifdef RS_SOCKET

/* What is kept of the payload of RTP that is not to be recorded whole: digits, and what tells copies apart. */
#define RS_KEEP 16

/* rs_cut_media is how much of an RTP packet is taken, from the beginning of its frame. */
static __always_inline __u32 rs_cut_media(const struct rs_packet *p, const struct rs_rtp *r)
{
	int learned = rs_learned(p, 0);

	if (learned != 1 + RS_METER && learned != 1 + RS_HEADER)
		return 0;
	/* Padding is counted by the last octet: it is kept whole, too. */
	if (r->len <= RS_KEEP || r->len != p->len)
		return 0;
	return p->off + RS_KEEP;
}

SEC("socket")
int prefilter(struct __sk_buff *ctx)
{
	struct rs_packet p = {.vlan = -1, .limit = rs_wire(ctx)};
	__u32 active = rs_active & 1, wire = p.limit, ssrc = 0, cut;
	struct rs_rtp r = {};
	struct rs_settings *s;
	int reason;

	s = bpf_map_lookup_elem(&rs_settings_of, &active);
	if (!s)
		return -1;
	if (ctx->vlan_present)
		p.vlan = ctx->vlan_tci & 0xfff;
	reason = rs_judge(ctx, s, active, &p, &r, &ssrc);
	cut = 0;
	if (reason == RS_IS_RTP) {
		cut = rs_cut_media(&p, &r);
		reason = cut ? RS_CUT : RS_RTP;
	}
	rs_count(reason, wire);
	if (reason <= RS_LAST_DROP)
		return 0;
	return cut ? cut : -1; /* -1: all of it */
}

#else

#include "include/deliver.h"
#include "include/feed.h"

/* rs_meter meters an RTP packet, and is the reason by what is to become of it. */
static __always_inline int rs_meter(const struct rs_settings *s, const struct rs_packet *p, __u32 ssrc, struct rs_rtp *r)
{
	struct rs_flow f;

	if (!(s->flags & RS_METERING))
		return RS_RTP;
	f.src = p->src;
	f.dst = p->dst;
	f.sport = p->sport;
	f.dport = p->dport;
	f.ssrc = ssrc;
	r->time = bpf_ktime_get_ns() + rs_offset;
	switch (table_count(&f, r)) {
	case TABLE_METER:
		return RS_METERED;
	case TABLE_HEADER:
		return RS_METERED_HEADER;
	case TABLE_FULL:
		return RS_METERED_FULL;
	case TABLE_SAMPLE:
		return RS_METERED_SAMPLE;
	case TABLE_NO_ROOM:
		return RS_RTP_NO_ROOM;
	}
	return RS_RTP_BUSY;
}

/*
 * rs_record hands on RTP that was metered and is wanted all the same: through the feed, or
 * behind a note. What the feed has no room for is dropped. As an skb it would cost this CPU
 * about twice as much, when it has too much to do already, and would overtake what waits.
 */
static __always_inline int rs_record(struct xdp_md *ctx, int reason, __u32 wire, __u32 keep, __u64 time)
{
	if (rs_feeding && keep <= RS_FEED_FRAME)
		return rs_feed_frame(ctx, wire, keep, time) ? RS_FEED_FULL : reason - RS_METERED_HEADER + RS_FED_HEADER;
	return rs_note_before(ctx, wire, keep, time) ? RS_NO_HEADROOM : reason;
}

SEC("xdp.frags")
int prefilter(struct xdp_md *ctx)
{
	struct rs_packet p = {.vlan = -1, .limit = rs_wire(ctx)};
	__u32 active = rs_active & 1, wire = p.limit, ssrc = 0;
	struct rs_rtp r = {};
	struct rs_settings *s;
	int reason;

	s = bpf_map_lookup_elem(&rs_settings_of, &active);
	if (!s)
		return XDP_PASS;
	reason = rs_judge(ctx, s, active, &p, &r, &ssrc);
	if (reason == RS_IS_RTP)
		reason = rs_meter(s, &p, ssrc, &r);
	if (reason >= RS_METERED_HEADER && reason <= RS_METERED_SAMPLE)
		reason = rs_record(ctx, reason, wire, reason == RS_METERED_HEADER ? p.off : wire, r.time);
	rs_count(reason, wire);
	if (reason <= RS_FED_SAMPLE)
		return XDP_DROP;
	return rs_pass(s, &p, wire);
}

/* rs_arrived counts what came through the queue to this CPU. */
SEC("xdp.frags/cpumap")
int rs_arrived(struct xdp_md *ctx)
{
	rs_steered(RS_ARRIVED, rs_wire(ctx));
	return XDP_PASS;
}

#endif

char __license[] SEC("license") = "Dual BSD/GPL";
