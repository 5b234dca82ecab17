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

/* What is kept of the payload of RTP that is not to be recorded whole: digits, and what tells copies apart. */
#define RS_KEEP 16

/* rs_may_cut says whether RTP with len octets of payload and padding may be cut behind RS_KEEP of them. */
static __always_inline bool rs_may_cut(const struct rs_rtp *r, __u32 len)
{
	/* Padding is counted by the last octet: it is kept whole, too. */
	return r->len > RS_KEEP && r->len == len;
}

#ifdef RS_SOCKET

/* rs_cut_media is how much of an RTP packet is taken, from the beginning of its frame; 0: all of it. */
static __always_inline __u32 rs_cut_media(const struct rs_packet *p, const struct rs_rtp *r)
{
	int learned = rs_learned(p, 0);

	if (learned != 1 + RS_METER && learned != 1 + RS_HEADER)
		return 0;
	return rs_may_cut(r, p->len) ? p->off + RS_KEEP : 0;
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
#include "include/quick.h"

/* rs_meter meters an RTP packet, and is the reason by what is to become of it. */
static __always_inline int rs_meter(const struct rs_settings *s, const struct rs_flow *f, struct rs_rtp *r)
{
	if (!(s->flags & RS_METERING))
		return RS_RTP;
	r->time = bpf_ktime_get_ns() + rs_offset;
	switch (table_count(f, r)) {
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

/*
 * rs_hand_on hands on RTP that user space meters. When its reader is behind by all of the feed
 * the frame is dropped here, where that costs least: an skb would only take the CPU from the reader.
 */
static __always_inline int rs_hand_on(struct xdp_md *ctx, __u32 wire, __u32 keep)
{
	if (!rs_feeding || keep > RS_FEED_FRAME)
		return RS_RTP;
	return rs_feed_frame(ctx, wire, keep, 0) ? RS_RTP_SHED : RS_FED_RTP;
}

/* rs_found is what is known of a frame when there is a reason. */
struct rs_found {
	struct rs_flow f; /* of RTP, with r, off and len */
	struct rs_rtp r;
	__u32 off;  /* where the payload begins */
	__u32 len;  /* octets of payload and padding, on the wire */
	__u32 hash; /* of the flow, where frames are steered */
	__u32 zero;
};

/* rs_media is the reason of an RTP packet. */
static __always_inline int rs_media(struct xdp_md *ctx, const struct rs_settings *s, struct rs_found *v, __u32 wire)
{
	int reason = rs_meter(s, &v->f, &v->r);

	if (reason == RS_RTP)
		return rs_hand_on(ctx, wire, feed_whole || !rs_may_cut(&v->r, v->len) ? wire : v->off + RS_KEEP);
	if (reason >= RS_METERED_HEADER && reason <= RS_METERED_SAMPLE)
		return rs_record(ctx, reason, wire, reason == RS_METERED_HEADER ? v->off : wire, v->r.time);
	return reason;
}

/* rs_general is the reason of any frame. It is a function of its own so that its stack is not that of the meter. */
__noinline int rs_general(struct xdp_md *ctx, struct rs_found *v, __u32 active, __u32 wire)
{
	struct rs_packet p = {.vlan = -1, .limit = wire};
	struct rs_settings *s;
	int reason;

	if (!v)
		return RS_TRUNCATED;
	active &= 1;
	s = bpf_map_lookup_elem(&rs_settings_of, &active);
	if (!s)
		return RS_TRUNCATED;
	reason = rs_judge(ctx, s, active, &p, &v->r, &v->f.ssrc);
	if (reason == RS_IS_RTP) {
		v->f.src = p.src;
		v->f.dst = p.dst;
		v->f.sport = p.sport;
		v->f.dport = p.dport;
		v->off = p.off;
		v->len = p.len;
	}
	if (!s->n_cpus)
		return reason;
	/* Of fragments the addresses of the header that says they are some: no more is known of the later ones. */
	v->hash = p.fragment == RS_WHOLE ? rs_flow_hash(&p.src, &p.dst, p.sport, p.dport)
					 : rs_flow_hash(&p.datagram.src, &p.datagram.dst, 0, 0);
	return reason;
}

SEC("xdp.frags")
int prefilter(struct xdp_md *ctx)
{
	__u32 active = rs_active & 1, wire = rs_wire(ctx);
	struct rs_settings *s;
	struct rs_found v;
	int reason;

	s = bpf_map_lookup_elem(&rs_settings_of, &active);
	if (!s)
		return XDP_PASS;
	reason = rs_quick(ctx, s, &v.f, &v.r);
	if (reason == RS_IS_RTP) {
		v.off = RS_PLAIN_RTP;
		v.len = v.r.len;
		v.hash = s->n_cpus ? rs_flow_hash(&v.f.src, &v.f.dst, v.f.sport, v.f.dport) : 0;
	} else if (reason == RS_OK) {
		__builtin_memset(&v, 0, sizeof(v));
		reason = rs_general(ctx, &v, active, wire);
	}
	if (reason == RS_IS_RTP)
		reason = rs_media(ctx, s, &v, wire);
	rs_count(reason, wire);
	if (reason <= RS_LAST_KEPT)
		return XDP_DROP;
	return rs_pass(s, v.hash, wire);
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
