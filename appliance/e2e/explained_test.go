package e2e

// Where ringside reads a capture otherwise than tshark 4.0.17 does, and why.
// By file; for RTP then by stream ("*": all that differ).
var explainedSIP = map[string]string{
	"zeek+zeek/sip-junk-before-request.pcap": "two bytes of junk before the method, and no Call-ID: " +
		"tshark looks behind the junk on port 5060, ringside takes for SIP what begins like SIP",
	"ntop+nDPI/http_on_sip_port.pcap":               "HTTP to port 5060: tshark goes by the port, and shows SIP without method and Call-ID",
	"open5gs+open5gs/ipsec_reg.pcapng":              copies,
	"open5gs+open5gs/nonipsec_to_ipsec_call.pcapng": copies,
	"open5gs+open5gs/volte.pcapng":                  copies,
}

// copies are datagrams in fragments that were captured on several hops, in
// tunnels and without. tshark takes all fragments of the same addresses and
// identification for those of one datagram, and so finds one for several hops;
// ringside puts them together hop by hop, as both do with datagrams that are whole.
const copies = "fragments of one datagram on several hops: tshark mixes the hops and finds fewer messages"

const (
	single = "a single packet on addresses that no SDP names; ringside asks for two in order (RFC 3550 A.1), " +
		"tshark's heuristic takes one"
	mistaken = "tshark takes some packets of the stream for another protocol, and counts them as lost"
)

var explainedRTP = map[string]map[string]string{
	"RestComm+mediaserver/rtp-packet.pcap": {"67.16.104.172:52220>10.0.6.73:65534 0x3E6E7CB5": single},
	"asterisk+testsuite/ssrc1.pcap":        {"127.0.0.1:6001>127.0.0.1:17854 0x00273AAB": single},
	"dotpcap+packetnet/ipv6_rtp.pcap": {
		"[fd01:abab:cdcd:efe0:8655:ab4d:6299:e315]:40004>[fd01:cafe::1]:6000 0x359F41E4": single,
	},
	"ntop+nDPI/discord.pcap": {
		"66.22.196.173:50004>192.168.2.100:63362 0x0000A139":  single,
		"192.168.2.100:64837>35.214.238.161:50001 0x00024B18": single,
		"192.168.2.100:59891>66.22.196.173:50004 0x0000ACE3":  single,
	},
	"ntop+nDPI/stun_google_meet.pcapng": {
		"142.250.82.76:19305>192.168.12.156:38152 0x00000000":                                   mistaken,
		"[2001:4860:4864:6::81]:19305>[2001:b07:a3d:c112:48a1:1094:1227:281e]:45572 0x00000000": mistaken,
	},
	"ntop+nDPI/stun_signal.pcapng": {
		"18.195.131.143:61498>192.168.12.169:47767 0x000007DD": mistaken,
		"192.168.12.169:43068>18.195.131.143:61156 0x000003E9": single,
		"192.168.12.169:47767>18.195.131.143:61498 0x000003E9": single,
	},
	"ntop+nDPI/wa_voice.pcap": {"192.168.2.12:56328>31.13.86.48:3478 0xF50386F4": single},
	"ossobv+sipzamine/sip-invites-with-utf8-and-latin1.pcap": {
		"127.0.1.1:6000>127.0.1.254:6000 0xCA110000": "five calls one after the other on the same ports, with " +
			"the same SSRC and sequence numbers: one stream for tshark, with 600 duplicates; five for ringside",
	},
	"sippy+rtpproxy/DLT_NULL.a.rtp": {
		"*": "tshark takes packets to port 12344 for LLC and XNS, and finds no RTP",
	},
}
