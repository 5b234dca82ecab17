// Package ask gets pages of a running ringside: of its control socket, and of its
// web server. It speaks HTTP/1.0, in which an answer ends with its connection.
package ask

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"time"
)

// wait is how long an answer may take, all in all.
const wait = 30 * time.Second

// Page gets one page, over a connection of its own.
func Page(dial func() (net.Conn, error), path string) ([]byte, error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("ask ringside for %s: %w", path, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, fmt.Errorf("ask ringside for %s: %w", path, err)
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path); err != nil {
		return nil, fmt.Errorf("ask ringside for %s: %w", path, err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return nil, fmt.Errorf("ask ringside for %s: %w", path, err)
	}
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	first, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !ok || !bytes.Contains(first, []byte(" 200 ")) {
		return nil, fmt.Errorf("ask ringside for %s: it answers %q", path, first)
	}
	return body, nil
}

// Control gets a page of a control socket.
func Control(socket, path string) ([]byte, error) {
	return Page(func() (net.Conn, error) { return net.DialTimeout("unix", socket, 5*time.Second) }, path)
}
