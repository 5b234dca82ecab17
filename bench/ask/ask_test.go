package ask

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestControl(t *testing.T) {
	for _, tc := range []struct{ name, answer, want, fails string }{
		{"a page", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\none\r\n\r\ntwo", "one\r\n\r\ntwo", ""},
		{"an empty page", "HTTP/1.0 200 OK\r\n\r\n", "", ""},
		{"no page", "HTTP/1.0 404 Not Found\r\n\r\nno such page", "", "404 Not Found"},
		{"cut in the head", "HTTP/1.0 200 OK\r\nContent-", "", "/status"},
		{"nothing", "", "", "/status"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			asked := make(chan string, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				b := make([]byte, 200)
				n, _ := c.Read(b)
				_, _ = c.Write([]byte(tc.answer))
				_ = c.Close()
				asked <- string(b[:n])
			}()
			got, err := Control(socket, "/status")
			if (err != nil) != (tc.fails != "") || err != nil && !strings.Contains(err.Error(), tc.fails) || string(got) != tc.want {
				t.Errorf("got %q, %v", got, err)
			}
			if line := <-asked; !strings.HasPrefix(line, "GET /status HTTP/1.0\r\n") {
				t.Errorf("it asks %q", line)
			}
		})
	}
	if _, err := Control(filepath.Join(t.TempDir(), "none"), "/status"); err == nil {
		t.Error("nobody listens, and it is no error")
	}
}
