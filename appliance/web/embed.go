// Package web serves the web UI: a few static files, made by ./build from ./src
// and embedded. The UI is a client of the API (appliance/api) and knows nothing
// else of ringside; this package knows nothing of it at all.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed dist
var dist embed.FS

// policy lets a page of the UI load scripts, styles, pictures and sound of its
// own host, and nothing else: no inline script or style, no frame, no form that
// posts elsewhere. Text of calls that got into a page as markup could do nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// asset is one file of the UI, ready to be sent.
type asset struct {
	kind   string // media type
	etag   string
	plain  []byte
	packed []byte // gzip; nil where that saves nothing
}

// Handler serves the UI: its files below /assets/, and the page for every other
// path, since screens have paths of their own (/calls, /calls/ID/media, …).
// Whoever mounts it takes /api/ and the like before.
func Handler() http.Handler {
	assets, err := load()
	if err != nil {
		panic("web: embedded files cannot be read: " + err.Error()) // they are part of the program
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the UI is only read; changes go to /api/v1", http.StatusMethodNotAllowed)
			return
		}
		name, isAsset := strings.CutPrefix(path.Clean(r.URL.Path), "/assets/")
		if !isAsset {
			name = "index.html"
		}
		a, ok := assets[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		a.serve(w, r)
	})
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache") // asked for again each time: 304 until the next version
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.plain
	if a.packed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body) // a client that is gone is told by the server
	}
}

// load reads and compresses the embedded files, once.
func load() (map[string]*asset, error) {
	out := map[string]*asset{}
	err := fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		a := &asset{kind: kindOf(name), etag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: b}
		if packed := pack(b); len(packed) < len(b)*9/10 {
			a.packed = packed
		}
		out[strings.TrimPrefix(name, "dist/")] = a
		return nil
	})
	return out, err
}

// kindOf does not trust the host's table of media types for what it must be.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

func pack(b []byte) []byte {
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is valid
	z.Write(b)                                              // a buffer takes everything
	z.Close()
	return buf.Bytes()
}
