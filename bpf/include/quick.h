/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * quick.h: plain frames that are dropped whatever else is in them, and plain RTP, told
 * without leaving the registers.
 *
 * It says nothing that rs_judge in rules.h would not say. What rs_judge looks up in
 * tries and hashes, this looks up in bits that are clear where nothing can be
 * found; where one is set it leaves the frame to rs_judge. What it reads is little, so
 * that it stays in the nearest cache: 16 KiB of ports and 8 KiB of each list.
 */
#ifndef RINGSIDE_QUICK_H
#define RINGSIDE_QUICK_H

#include "rules.h"

static __always_inline __u32 rs_brief(const struct rs_settings *s, __u16 port)
{
	return s->brief[port >> 2] >> (port & 3) * 2;
}

static __always_inline bool rs_half(const struct rs_settings *s, __u32 list, __be32 a)
{
	__u16 half = a;

	return s->halves[list][half >> 3] >> (half & 7) & 1;
}

/* rs_unlearned says that no endpoint of SDP has this port, nor the one below it. */
static __always_inline bool rs_unlearned(const struct rs_port_set *set, __u16 port)
{
	return !rs_media_port(set, port) && !rs_media_port(set, port - 1);
}

/* RTP behind the headers of a plain frame, without padding, extension and sources. */
#define RS_PLAIN_RTP (RS_PLAIN + 12)

/* rs_quick_rtp is RS_IS_RTP where ports alone make a plain frame RTP, if it is; then it fills f and r. */
static __always_inline int rs_quick_rtp(RS_CTX *ctx, const struct rs_plain *h, struct rs_flow *f, struct rs_rtp *r)
{
	const void *data = (void *)(long)ctx->data;
	__u32 second;

	if (data + RS_PLAIN_RTP > (void *)(long)ctx->data_end)
		return RS_OK;
	second = RS_AT(__u8, data, RS_PLAIN + 1);
	if (RS_AT(__u8, data, RS_PLAIN) != 0x80 || second >> 5 == 6 || h->len < 12 || RS_PLAIN + h->len > h->end)
		return RS_OK;
	f->src = rs_mapped(h->src);
	f->dst = rs_mapped(h->dst);
	f->sport = h->sport;
	f->dport = h->dport;
	f->ssrc = bpf_ntohl(RS_AT(__be32, data, RS_PLAIN + 8));
	r->ts = bpf_ntohl(RS_AT(__be32, data, RS_PLAIN + 4));
	r->len = h->len - 12;
	r->seq = bpf_ntohs(RS_AT(__be16, data, RS_PLAIN + 2));
	r->pt = second & 0x7f;
	r->marker = second >> 7;
	r->ttl = h->ttl;
	r->dscp = h->dscp;
	r->vlan = -1;
	return RS_IS_RTP;
}

/* rs_quick is the reason why a plain frame is dropped, RS_IS_RTP with f and r filled, or RS_OK: go on. */
static __always_inline int rs_quick(RS_CTX *ctx, const struct rs_settings *s, struct rs_flow *f, struct rs_rtp *r)
{
	const struct rs_port_set *set;
	__u32 brief, flags, zero = 0;
	struct rs_plain h;
	__u16 sport, dport;

	if (!rs_read_plain(ctx, &h))
		return RS_OK;
	sport = bpf_ntohs(h.sport);
	dport = bpf_ntohs(h.dport);
	brief = rs_brief(s, sport) | rs_brief(s, dport);
	flags = s->flags;
	if (brief & RS_SHORT_OTHER || flags & RS_OWN_ANY)
		return RS_OK;
	if (flags & RS_DENY && (rs_half(s, RS_LIST_DENY, h.src) || rs_half(s, RS_LIST_DENY, h.dst)))
		return RS_OK;
	if (flags & RS_ALLOW)
		return rs_half(s, RS_LIST_ALLOW, h.src) || rs_half(s, RS_LIST_ALLOW, h.dst) ? RS_OK : RS_NOT_ALLOWED;
	if (brief & RS_SHORT_RTP) {
		bool media = s->rtp == RS_RTP_RANGE || s->rtp == RS_RTP_EITHER;

		if (!media || sport < RS_FIRST_MEDIA_PORT || dport < RS_FIRST_MEDIA_PORT)
			return RS_OK;
		return rs_quick_rtp(ctx, &h, f, r);
	}
	if (flags & RS_PASS_OTHER)
		return RS_OK;
	set = bpf_map_lookup_elem(&rs_media_ports, &zero);
	return set && rs_unlearned(set, sport) && rs_unlearned(set, dport) ? RS_NOTHING : RS_OK;
}

#endif
