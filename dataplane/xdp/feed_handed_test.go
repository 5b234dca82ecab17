package xdp

import (
	"bytes"
	"testing"

	"ringside/dataplane/frame"
)

// TestFeedOfUnmetered: without a meter RTP comes through the feed, not noted as metered, cut
// where 16 octets of payload are enough; RTCP and what is too long for the feed pass.
func TestFeedOfUnmetered(t *testing.T) {
	padded := voiceFrame(1, 7, 160)
	padded[42] |= 0x20
	padded[len(padded)-1] = 4
	control := over4(20000, 20003, append([]byte{0x80, 200, 0, 6}, make([]byte, 24)...))
	for _, tc := range []struct {
		name  string
		whole bool
		frame []byte
		keep  int // bytes; 0: none
		row   string
	}{
		{"cut", false, voiceFrame(1, 7, 160), 70, "feed: RTP"},
		{"short", false, voiceFrame(1, 7, 16), 70, "feed: RTP"},
		{"cut, longer than a feed holds", false, voiceFrame(1, 7, 3000), 70, "feed: RTP"},
		{"padded", false, padded, 214, "feed: RTP"},
		{"whole", true, voiceFrame(1, 7, 160), 214, "feed: RTP"},
		{"whole, longer", true, voiceFrame(1, 7, 3000), 0, "pass: RTP"},
		{"RTCP", false, control, 0, "pass: RTCP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := loose(t, Options{Feeds: 1, FeedMemory: 1 << 20, FeedWhole: tc.whole})
			row, action, _ := judge(t, f, tc.frame)
			if row != tc.row || (action == xdpDrop) != (tc.keep > 0) {
				t.Fatalf("%s, action %d, want %s", row, action, tc.row)
			}
			all := taken(t, f.Feeds()[0])
			if tc.keep == 0 {
				if len(all) > 0 {
					t.Errorf("%d batches", len(all))
				}
				return
			}
			if len(all) != 1 || len(all[0].Frames) != 1 {
				t.Fatalf("%d batches", len(all))
			}
			defer all[0].Release()
			got := all[0].Frames[0]
			if got.Metered || got.Time == 0 || got.Len != uint32(len(tc.frame)) || !bytes.Equal(got.Data, tc.frame[:tc.keep]) {
				t.Errorf("%+v\nwant % x", got, tc.frame[:tc.keep])
			}
		})
	}
}

// TestFeedSheds: what a full feed has no room for is dropped under a reason of its own, which is
// none of the meter's, and told by the frame behind it.
func TestFeedSheds(t *testing.T) {
	f := loose(t, Options{Feeds: 1, FeedMemory: leastFeed, FeedWhole: true})
	onCPU(t, 0)
	feed, sent, shed := f.Feeds()[0], 0, 0
	give := func() string {
		sent++
		row, action, _ := judge(t, f, voiceFrame(1, sent, 160))
		if action != xdpDrop {
			t.Fatalf("%s, action %d", row, action)
		}
		return row
	}
	for shed < 3 {
		switch row := give(); row {
		case "feed: RTP":
		case "drop: RTP, feed full":
			shed++
		default:
			t.Fatal(row)
		}
	}
	empty := func() (frames int, lost uint32, last frame.Frame) {
		for _, b := range taken(t, feed) {
			for i := range b.Frames {
				lost += b.Frames[i].Lost
				last = b.Frames[i]
			}
			frames += len(b.Frames)
			last.Data = nil
			b.Release()
		}
		return frames, lost, last
	}
	if n, lost, _ := empty(); n != sent-3 || lost != 0 {
		t.Errorf("%d frames of %d, %d are told to be lost", n, sent-3, lost)
	}
	if row := give(); row != "feed: RTP" {
		t.Fatal(row)
	}
	if n, lost, last := empty(); n != 1 || lost != 3 || last.Metered {
		t.Errorf("%d frames, %d are told to be lost: %+v", n, lost, last)
	}
	s, err := f.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rows {
		if r.Packets > 0 && r.Metered() {
			t.Errorf("%s: %s is said to be metered", r.Verdict, r.Reason)
		}
	}
	if got := s.Received().Packets; got != uint64(sent) {
		t.Errorf("%d packets have a verdict, of %d", got, sent)
	}
}
