/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
//go:build ignore

/*
 * floor.bpf.c: reads the headers that the pre-filter reads, and drops. It is what
 * the pre-filter is measured against.
 */
#include "include/packet.h"

/* read_and_drop reads the headers of RTP over UDP and IPv4, as far as they are there. */
SEC("xdp.frags")
int read_and_drop(struct xdp_md *ctx)
{
	struct rs_packet p = {.vlan = -1};
	struct {
		__be32 first, ts, ssrc;
	} rtp;
	__be16 type;

	if (rs_link(ctx, &p, &type) != RS_OK || rs_network(ctx, &p, type) != RS_OK || rs_transport(ctx, &p) != RS_OK ||
	    RS_READ(ctx, p.off, &rtp))
		return XDP_DROP;
	/* The result depends on all of it, so that the compiler leaves nothing out. */
	if ((__u32)(p.src.lo ^ p.dst.lo) + p.sport + p.dport + p.len + rtp.first + rtp.ts + rtp.ssrc == 1)
		return XDP_PASS;
	return XDP_DROP;
}

char __license[] SEC("license") = "Dual BSD/GPL";
