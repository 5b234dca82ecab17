/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * rules.h: which rule names a packet, and so what its reason is.
 */
#ifndef RINGSIDE_RULES_H
#define RINGSIDE_RULES_H

#include "limit.h"
#include "table.h"
#include "tunnel.h"

/* rs_has_tuple looks for one kind of 5-tuple among the appliance's own traffic, in one direction. */
static __always_inline bool rs_has_tuple(const struct rs_packet *p, __u8 mask, __u32 active, bool back)
{
	struct rs_tuple t = {.mask = mask, .active = active};

	if (mask & RS_OWN_PROTO)
		t.proto = p->proto;
	if (mask & RS_OWN_A)
		t.a = back ? p->dst : p->src;
	if (mask & RS_OWN_B)
		t.b = back ? p->src : p->dst;
	if (mask & RS_OWN_APORT)
		t.aport = back ? p->dport : p->sport;
	if (mask & RS_OWN_BPORT)
		t.bport = back ? p->sport : p->dport;
	return bpf_map_lookup_elem(&rs_own, &t);
}

/* rs_is_own says whether a packet is traffic of the appliance's own. */
__noinline int rs_is_own(const struct rs_settings *s, const struct rs_packet *p, __u32 active)
{
	if (!s || !p)
		return 0;
	for (__u32 i = 0; i < RS_MASKS; i++) {
		__u8 mask;

		if (i >= s->n_masks)
			break;
		mask = s->masks[i];
		if (rs_has_tuple(p, mask, active, false) || rs_has_tuple(p, mask, active, true))
			return 1;
	}
	return 0;
}

/* rs_hit counts a packet that a prefix has matched. */
static __always_inline void rs_hit(const struct rs_settings *s, __u32 active, __u32 prefix, __u32 bytes)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct rs_traffic *t;
	void *hits;

	hits = bpf_map_lookup_elem(&rs_hits, &active);
	if (!hits)
		return;
	cpu = (cpu & (s->shares - 1)) * s->prefixes + prefix;
	t = bpf_map_lookup_elem(hits, &cpu);
	if (!t)
		return;
	if (s->flags & RS_SHARED) {
		__sync_fetch_and_add(&t->packets, 1);
		__sync_fetch_and_add(&t->bytes, bytes);
	} else {
		t->packets++;
		t->bytes += bytes;
	}
}

static __always_inline __u32 *rs_find4(void *list, const struct rs_addr *a)
{
	struct rs_prefix4 key = {32, a->lo >> 32};

	return bpf_map_lookup_elem(list, &key);
}

static __always_inline __u32 *rs_find6(void *list, const struct rs_addr *a)
{
	struct rs_prefix6 key = {128, {a->hi, a->hi >> 32, a->lo, a->lo >> 32}};

	return bpf_map_lookup_elem(list, &key);
}

/* rs_listed says whether the source or the destination is on a list, and counts by the prefix that says so. */
__noinline int rs_listed(const struct rs_settings *s, const struct rs_packet *p, __u32 active, __u32 list, __u32 bytes)
{
	__u32 at = 2 * (active & 1) + list, *prefix = NULL;
	void *trie;

	if (!s || !p)
		return 0;
	if (p->six) {
		trie = bpf_map_lookup_elem(&rs_lists6, &at);
		if (trie) {
			prefix = rs_find6(trie, &p->src);
			if (!prefix)
				prefix = rs_find6(trie, &p->dst);
		}
	} else {
		trie = bpf_map_lookup_elem(&rs_lists4, &at);
		if (trie) {
			prefix = rs_find4(trie, &p->src);
			if (!prefix)
				prefix = rs_find4(trie, &p->dst);
		}
	}
	if (!prefix)
		return 0;
	rs_hit(s, active & 1, *prefix, bytes);
	return 1;
}

/* Fragments. */

/* How long the fate of a datagram is remembered, ns. Its identification comes again soon on a busy pair of hosts. */
#define RS_FATE_LIFE 1000000000ULL

struct rs_fate {
	__u64 at; /* ns of bpf_ktime_get_ns */
	__u64 drop;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct rs_datagram);
	__type(value, struct rs_fate);
} rs_fates SEC(".maps");

/* rs_remember keeps what has become of a first fragment. */
__noinline int rs_remember(const struct rs_packet *p, __u32 drop)
{
	struct rs_datagram key;
	struct rs_fate fate;

	if (!p)
		return 0;
	key = p->datagram;
	fate.at = bpf_ktime_get_ns();
	fate.drop = drop;
	return bpf_map_update_elem(&rs_fates, &key, &fate, BPF_ANY);
}

/* rs_recall is the reason of a later fragment. */
__noinline int rs_recall(const struct rs_packet *p)
{
	struct rs_datagram key;
	struct rs_fate *fate;

	if (!p)
		return RS_FATE_UNKNOWN;
	key = p->datagram;
	fate = bpf_map_lookup_elem(&rs_fates, &key);
	if (!fate || bpf_ktime_get_ns() - fate->at > RS_FATE_LIFE)
		return RS_FATE_UNKNOWN;
	return fate->drop ? RS_FATE_DROP : RS_FATE_PASS;
}

/* Media. */

/* Below are the well-known services, whose datagrams may look like RTP; as in flow. */
#define RS_FIRST_MEDIA_PORT 1024

/*
 * rs_media_ports has a bit for each port that an endpoint in media has: most of what is
 * no media is told by that alone. User space sets it before the endpoint is there, and
 * clears it behind the last one.
 */
struct rs_port_set {
	__u64 words[65536 / 64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rs_port_set);
} rs_media_ports SEC(".maps");

static __always_inline bool rs_media_port(const struct rs_port_set *set, __u16 port)
{
	return set->words[port >> 6] >> (port & 63) & 1;
}

static __always_inline struct rs_media *rs_endpoint(const struct rs_addr *a, __be16 port)
{
	struct rs_media_key key = {.addr = *a, .port = port};

	return bpf_map_lookup_elem(&media, &key);
}

/*
 * rs_learned is 1 + the policy (enum rs_policy) of one of the packet's ends that SDP
 * has named, or 0; below is taken from the ports: RTCP has the port above its RTP.
 */
__noinline int rs_learned(const struct rs_packet *p, __u32 below)
{
	struct rs_addr src, dst;
	struct rs_media *m = NULL;
	struct rs_port_set *set;
	__u16 sport, dport;
	__u32 zero = 0;

	set = bpf_map_lookup_elem(&rs_media_ports, &zero);
	if (!p || !set)
		return 0;
	src = p->src;
	dst = p->dst;
	sport = bpf_ntohs(p->sport) - below;
	dport = bpf_ntohs(p->dport) - below;
	if (rs_media_port(set, dport))
		m = rs_endpoint(&dst, bpf_htons(dport));
	if (!m && rs_media_port(set, sport))
		m = rs_endpoint(&src, bpf_htons(sport));
	return m ? 1 + m->policy : 0;
}

/* rs_is_media says whether the rule for RTP names a packet. */
static __always_inline bool rs_is_media(const struct rs_settings *s, const struct rs_packet *p, bool in_range, __u32 below)
{
	switch (s->rtp) {
	case RS_RTP_RANGE:
		return in_range;
	case RS_RTP_LEARNED:
		return rs_learned(p, below);
	case RS_RTP_EITHER:
		return in_range || rs_learned(p, below);
	case RS_RTP_BOTH:
		return in_range && rs_learned(p, below);
	}
	return false;
}

/* rs_nothing is the reason of what no rule names. */
static __always_inline int rs_nothing(const struct rs_settings *s)
{
	return s->flags & RS_PASS_OTHER ? RS_OTHER_PASSED : RS_NOTHING;
}

struct rs_rtp_header {
	__u8 first, second;
	__be16 seq;
	__be32 ts;
	__be32 ssrc;
};

struct rs_stun {
	__be16 type, len;
	__be32 cookie;
};

/* rs_last is the last octet of a datagram, wherever the driver has put it; 0: it was sliced off. */
static __always_inline __u8 rs_last(RS_CTX *ctx, const struct rs_packet *p)
{
	__u8 last = 0;
	__u32 at = p->off + p->len - 1;

#ifdef RS_SOCKET
	if (bpf_skb_load_bytes_relative(ctx, at, &last, 1, BPF_HDR_START_MAC))
		return 0;
#else
	if (bpf_xdp_load_bytes(ctx, at, &last, 1))
		return 0;
#endif
	return last;
}

/*
 * rs_read_rtp reads an RTP header as flow/rtp does, and what the meter needs of it.
 * It moves p->off to the payload.
 */
static __always_inline int rs_read_rtp(RS_CTX *ctx, struct rs_packet *p, struct rs_rtp *r, __u32 *ssrc)
{
	struct rs_rtp_header h;
	struct rs_gre x; /* two halves of a word, as in an extension */
	__u32 off = 12, pad = 0;

	if (p->len < off)
		return RS_BAD_UDP;
	if (RS_READ(ctx, p->off, &h))
		return RS_TRUNCATED;
	if (h.first & 0x3f) {
		off += 4 * (h.first & 15);
		if (h.first & 0x10) {
			if (RS_READ(ctx, p->off + off, &x))
				return RS_TRUNCATED;
			off += 4 + 4 * bpf_ntohs(x.type);
		}
		if (off > p->len)
			return RS_BAD_UDP;
		if (h.first & 0x20)
			pad = rs_last(ctx, p);
		if (pad > p->len - off)
			pad = 0;
	}
	r->ts = bpf_ntohl(h.ts);
	r->len = p->len - off - pad;
	r->seq = bpf_ntohs(h.seq);
	r->pt = h.second & 0x7f;
	r->marker = h.second >> 7;
	r->ttl = p->ttl;
	r->dscp = p->dscp;
	r->vlan = p->vlan;
	*ssrc = bpf_ntohl(h.ssrc);
	p->off += off;
	p->len -= off;
	return RS_IS_RTP;
}

/* rs_media_of is the reason of a datagram that is on no port of SIP; for RS_IS_RTP, r is filled. */
static __always_inline int rs_media_of(RS_CTX *ctx, const struct rs_settings *s, struct rs_packet *p, bool in_range,
				       struct rs_rtp *r, __u32 *ssrc)
{
	struct rs_stun h;
	__be16 first;
	__u8 kind, type;

	if (s->rtp == RS_RTP_NONE || !p->len || rs_read(ctx, p->off, &first, 2))
		return rs_nothing(s);
	kind = first & 0xff;
	type = first >> 8;
	if (kind >> 6 == 2) { /* version 2 of RTP and RTCP */
		bool control = type >> 5 == 6 && p->len >= 8; /* RFC 5761 section 4 */

		if (bpf_ntohs(p->sport) < RS_FIRST_MEDIA_PORT || bpf_ntohs(p->dport) < RS_FIRST_MEDIA_PORT)
			return rs_nothing(s);
		if (!rs_is_media(s, p, in_range, 0) && !(control && rs_is_media(s, p, in_range, 1)))
			return rs_nothing(s);
		if (control)
			return RS_RTCP;
		if (p->fragment != RS_WHOLE)
			return RS_RTP_FRAGMENT;
		/* Longer than the IP header says: sliced on the way, and the rest is something else. */
		if (p->off + p->len > p->end)
			return RS_BAD_UDP;
		return rs_read_rtp(ctx, p, r, ssrc);
	}
	/* A STUN message says its length, a multiple of 4 (RFC 8489 section 5). */
	if (kind < 4 && p->len >= 20 && !RS_READ(ctx, p->off, &h) && bpf_ntohs(h.len) == p->len - 20 && !(p->len & 3) &&
	    rs_is_media(s, p, in_range, 0))
		return RS_STUN;
	return rs_learned(p, 0) ? RS_ENDPOINT : rs_nothing(s);
}

static __always_inline __u8 rs_port(const struct rs_settings *s, __be16 port)
{
	return s->ports[bpf_ntohs(port)];
}

/* rs_parse reads a frame down to its ports, through one tunnel, and leaves the flags of both. */
static __always_inline int rs_parse(RS_CTX *ctx, const struct rs_settings *s, struct rs_packet *p, __u8 *flags)
{
	struct rs_plain h;
	__be16 type;
	__u8 from, to;
	int r;

	if (rs_read_plain(ctx, &h)) {
		rs_take_plain(p, &h);
	} else {
		r = rs_link(ctx, p, &type);
		if (r != RS_OK)
			return r;
		r = rs_network(ctx, p, type);
		if (r != RS_OK)
			return r;
		r = rs_transport(ctx, p);
		if (r == RS_TUNNEL)
			r = rs_open(ctx, p);
		if (r != RS_OK)
			return r;
	}
	from = rs_port(s, p->sport);
	to = rs_port(s, p->dport);
	if (p->proto == RS_UDP && to & RS_PORT_OPEN && !p->tunnelled && p->fragment < RS_LATER) {
		r = rs_open(ctx, p);
		if (r != RS_OK)
			return r;
		from = rs_port(s, p->sport);
		to = rs_port(s, p->dport);
	}
	if (p->proto == RS_UDP && (to & (RS_PORT_OPEN | RS_PORT_OTHER) || from & RS_PORT_EITHER))
		return p->tunnelled ? RS_NESTED : RS_TUNNEL;
	*flags = from | to;
	return RS_OK;
}

/* rs_rule is the reason of a packet whose ports are known, and whose addresses may pass. */
static __always_inline int rs_rule(RS_CTX *ctx, const struct rs_settings *s, struct rs_packet *p, __u8 flags,
				   struct rs_rtp *r, __u32 *ssrc)
{
	switch (p->proto) {
	case RS_UDP:
		if (flags & RS_PORT_UDP)
			return rs_request(ctx, s, p);
		return rs_media_of(ctx, s, p, flags & RS_PORT_RTP, r, ssrc);
	case RS_TCP:
		return flags & RS_PORT_TCP ? RS_SIP : rs_nothing(s);
	case RS_SCTP:
		return flags & RS_PORT_SCTP ? RS_SIP : rs_nothing(s);
	}
	return rs_nothing(s);
}

/*
 * rs_judge is the reason of a frame, or RS_IS_RTP: then the meter decides, r is filled,
 * and p->off is where the payload of RTP begins.
 */
static __always_inline int rs_judge(RS_CTX *ctx, const struct rs_settings *s, __u32 active, struct rs_packet *p,
				    struct rs_rtp *r, __u32 *ssrc)
{
	__u32 wire = p->limit;
	__u8 flags = 0;
	int reason = rs_parse(ctx, s, p, &flags);
	bool known = reason == RS_OK;

	if (p->fragment == RS_LATER) {
		int fate = rs_recall(p);

		if (fate != RS_FATE_UNKNOWN)
			return fate;
	}
	if (known && (flags & RS_PORT_OWN || s->flags & RS_OWN_ANY) && p->fragment < RS_LATER && rs_is_own(s, p, active)) {
		reason = RS_OWN;
		goto judged;
	}
	/* Of what was not understood the outermost addresses are known at most: inside may be others. */
	if (p->end && s->flags & RS_DENY && rs_listed(s, p, active, RS_LIST_DENY, wire)) {
		reason = RS_DENIED;
		goto judged;
	}
	if ((known || reason == RS_PROTOCOL) && s->flags & RS_ALLOW && !rs_listed(s, p, active, RS_LIST_ALLOW, wire)) {
		reason = RS_NOT_ALLOWED;
		goto judged;
	}
	if (known)
		reason = p->fragment >= RS_LATER ? RS_FATE_UNKNOWN : rs_rule(ctx, s, p, flags, r, ssrc);
judged:
	if (p->fragment == RS_FIRST || p->fragment == RS_MIXED)
		rs_remember(p, reason <= RS_LAST_DROP);
	return reason;
}

#endif
