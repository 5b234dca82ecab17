package audio

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/record"
)

// capture is a source of the datagrams of capture files.
func capture(paths ...string) Source {
	return func(ctx context.Context, emit func(*Packet) error) error {
		r, err := pcapin.Open(pcapin.Options{Inputs: paths})
		if err != nil {
			return err
		}
		defer r.Close()
		var d decode.Decoder
		for {
			b, err := r.Next()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			case b == nil:
				continue
			}
			d.Decode(b)
			for i := range b.Packets {
				p := &b.Packets[i]
				if p.Proto != frame.ProtoUDP {
					continue
				}
				err := emit(&Packet{Time: p.Time, Src: p.Src.Netip(), Dst: p.Dst.Netip(), Data: p.Payload, Len: int(p.Len)})
				if err != nil {
					b.Release()
					return err
				}
			}
			b.Release()
		}
	}
}

// energy is the level of a sound, of 32768.
func energy(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(x))))
}

// opusTypes are the payload types that captures without signalling use.
func opusTypes(pt string) []byte {
	return []byte("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP " + pt + "\r\na=rtpmap:" + pt + " opus/48000/2\r\n")
}

// Real captures are heard, and last as long as tshark says.
func TestCorpus(t *testing.T) {
	for _, c := range []struct {
		file, opus string
		codec      string
		streams    int // that are heard
	}{
		{"wangduanduan+pcap2wav/one.pcap", "", "PCMA", 2},
		{"MichalCab+ISA/sip.pcap", "", "PCMA", 2},
		{"BelledonneCommunications+mediastreamer2/audio-80-75-0c60.pcapng", "", "PCMA", 1},
		{"BelledonneCommunications+mediastreamer2/pcmu_8k_no_jitter.pcap", "", "PCMU", 1},
		{"RestComm+mediaserver/cisco-spa-525G2-zendesk34432.pcap", "", "PCMU", 1},
		{"SIPp+sipp/g711a.pcap", "", "PCMA", 1},
		{"loreste+siprec/g711_audio.pcap", "", "PCMU", 1},
		{"asterisk+testsuite/opus-2013785496.pcap", "96", "opus", 1},
		{"asterisk+testsuite/opus-3125894607.pcap", "96", "opus", 1},
		{"asterisk+testsuite/16_bit_48khz_60_fec_rtp.pcapng", "107", "opus", 1},
		{"BelledonneCommunications+mediastreamer2/opus-poor-quality.pcapng", "124", "opus", 1},
	} {
		t.Run(c.file, func(t *testing.T) {
			call := Call{Packets: capture(corpus.Capture(t, c.file))}
			if c.opus != "" {
				call.SDP = [][]byte{opusTypes(c.opus)}
			}
			r := open(t, call)
			lasts := map[uint32]float64{}
			for _, row := range corpus.Reference(t, c.file, "rtp") {
				ssrc, _ := strconv.ParseUint(strings.TrimPrefix(row["ssrc"], "0x"), 16, 32)
				lasts[uint32(ssrc)], _ = strconv.ParseFloat(row["duration_s"], 64)
			}
			heard := 0
			for _, x := range r.Streams {
				if !x.Playable {
					t.Logf("%s to %s: %s: %s", x.Src, x.Dst, x.Codec, x.Why)
					continue
				}
				heard++
				if got, want := float64(x.Last-x.First)/1e9, lasts[x.SSRC]; want > 0 && math.Abs(got-want) > 0.02 {
					t.Errorf("stream %#x lasts %.3f s, tshark says %.3f s", x.SSRC, got, want)
				}
				if !strings.HasPrefix(x.Codec, c.codec) {
					t.Errorf("stream %#x is %s", x.SSRC, x.Codec)
				}
			}
			if heard != c.streams {
				t.Fatalf("%d streams are heard, want %d: %+v", heard, c.streams, r.Streams)
			}
			w := render(t, r, Options{Channels: Mono})
			if e := energy(w.left); e < 20 {
				t.Errorf("its level is %.1f of 32768", e)
			}
			if got, want := float64(len(w.left))/float64(w.rate), float64(r.Length)/1e9; math.Abs(got-want) > 0.001 {
				t.Errorf("rendered %.3f s of %.3f s", got, want)
			}
		})
	}
}

// Real SRTP with the keys that its authors published, of G.722.
func TestCorpusSRTP(t *testing.T) {
	dir := filepath.Join(corpus.Dir(t), "captures", "sippy+rtpproxy")
	b, err := os.ReadFile(filepath.Join(dir, "SRTP_KEYS.txt"))
	if err != nil {
		t.Skip("no keys: ", err)
	}
	tried := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[0] == "#" {
			continue
		}
		path := filepath.Join(dir, f[0])
		if _, err := os.Stat(path); err != nil {
			continue
		}
		tried++
		t.Run(f[0], func(t *testing.T) {
			source := capture(path)
			var at []record.Media // whose addresses a session description would name
			err := source(context.Background(), func(p *Packet) error {
				if len(at) == 0 {
					at = append(at, record.Media{
						Addr: p.Src, Side: record.SideCaller, SRTP: true,
						Crypto: "1 AES_CM_128_HMAC_SHA1_80 inline:" + f[1],
					})
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r := open(t, Call{Packets: source, Media: at})
			i := slices.IndexFunc(r.Streams, func(x Stream) bool { return x.Src == at[0].Addr })
			if i < 0 || !r.Streams[i].Playable || !r.Streams[i].Encrypted || r.Streams[i].Why != "" {
				t.Fatalf("described as %+v", r.Streams)
			}
			w := render(t, r, Options{Channels: Caller})
			// Speech is no noise: what is next to each other is alike.
			var near, all float64
			for i := 1; i < len(w.left); i++ {
				near += float64(w.left[i]) * float64(w.left[i-1])
				all += float64(w.left[i]) * float64(w.left[i])
			}
			if w.rate != 16000 || near < 0.5*all || energy(w.left) < 20 {
				t.Errorf("at %d Hz its level is %.1f, and neighbours are alike to %.2f", w.rate, energy(w.left), near/all)
			}
		})
	}
	if tried == 0 {
		t.Error("no capture to try the keys with")
	}
}
