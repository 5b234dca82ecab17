package e2e

// Where the export of a call is not what tshark cuts from the capture, and why. By
// capture, then by Call-ID.
var explainedSpool = map[string]map[string]string{
	"open5gs+open5gs/ipsec_reg.pcapng": {"33006ec626c23f51-25423@10.4.128.21": hops},
	"open5gs+open5gs/ipsec_to_ipsec_call.pcapng": {
		"TF0lR-e_t0o7Jp-w5kq58A..@192.168.101.3": "segments that were captured on several hops: tshark counts the " +
			"copies among what a message came in, ringside stores those that brought its bytes first",
	},
	"open5gs+open5gs/nonipsec_to_ipsec_call.pcapng": {"4128004109_45009256@192.168.101.2": hops},
	"open5gs+open5gs/volte.pcapng":                  {"29f22d59735449fc-27067@10.4.128.21": hops},
}

// hops: see copies, which is about the messages that are found.
const hops = "fragments of one datagram on several hops: tshark takes some of one hop for those of another"
