package daemon

import (
	"ringside/appliance/api"
	"ringside/flow/call"
	"ringside/flow/sip"
)

// Texts makes of a function a taker of messages (ReadOptions.Message) that gets
// them as the API has them. Shards call it at the same time.
func Texts(take func(*api.SIPMessage)) func(*sip.Message, *call.Meta) {
	return func(m *sip.Message, meta *call.Meta) {
		out := apiMessage(&SIPMessage{Time: meta.Time, Meta: *meta, Parsed: *m})
		take(&out)
	}
}
