package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// budget is what the whole UI may weigh, compressed as it is sent.
const budget = 150 << 10

func TestBudget(t *testing.T) {
	assets, err := load()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for name, a := range assets {
		n := len(a.plain)
		if a.packed != nil {
			n = len(a.packed)
		}
		t.Logf("%-36s %6d bytes", name, n)
		sum += n
	}
	if sum > budget {
		t.Errorf("the UI is %d bytes compressed; it may be %d", sum, budget)
	}
}

// namespaces are names, and never asked for.
var namespaces = []string{
	"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml",
	"http://www.w3.org/1998/Math/MathML", "http://www.w3.org/1999/xlink",
}

var anyURL = regexp.MustCompile(`(?i)(?:https?|wss?):?//[a-z0-9.-]+[^\s"'` + "`" + `)]*`)

func TestNothingFromElsewhere(t *testing.T) {
	assets, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range assets {
		if name == "licences.txt" || strings.HasSuffix(name, ".woff2") {
			continue
		}
		for _, u := range anyURL.FindAllString(string(a.plain), -1) {
			if !slices.Contains(namespaces, u) {
				t.Errorf("%s names %s: a page of the UI must not ask another host", name, u)
			}
		}
		if strings.Contains(string(a.plain), "sourceMappingURL") {
			t.Errorf("%s names a source map: there is none", name)
		}
	}
}

func TestNothingInline(t *testing.T) {
	assets, err := load()
	if err != nil {
		t.Fatal(err)
	}
	page := string(assets["index.html"].plain)
	for what, re := range map[string]*regexp.Regexp{
		"a script without src":    regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>\s*[^<\s]`),
		"a style element":         regexp.MustCompile(`(?i)<style`),
		"a style attribute":       regexp.MustCompile(`(?i)\sstyle=`),
		"an attribute for events": regexp.MustCompile(`(?i)\son[a-z]+=`),
	} {
		if re.MatchString(page) {
			t.Errorf("index.html has %s: the policy forbids it", what)
		}
	}
	script := string(assets["app.js"].plain)
	for _, word := range []string{"eval(", "new Function(", "document.write", "insertAdjacentHTML", "dangerouslySetInnerHTML:"} {
		if strings.Contains(script, word) {
			t.Errorf("app.js has %s: text of calls must stay text", word)
		}
	}
}

// ask sends one request to the handler.
func ask(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, "http://ringside"+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		path   string
		status int
		kind   string
	}{
		{"/", 200, "text/html; charset=utf-8"},
		{"/calls", 200, "text/html; charset=utf-8"},
		{"/calls/123/media?x=1", 200, "text/html; charset=utf-8"},
		{"/assets/app.js", 200, "text/javascript; charset=utf-8"},
		{"/assets/app.css", 200, "text/css; charset=utf-8"},
		{"/assets/icon.svg", 200, "image/svg+xml"},
		{"/assets/inter-latin-wght-normal.woff2", 200, "font/woff2"},
		{"/assets/licences.txt", 200, "text/plain; charset=utf-8"},
		{"/assets/missing.js", 404, ""},
		{"/assets/../embed.go", 200, "text/html; charset=utf-8"}, // a path of the UI, not a file
		{"/assets/..%2f..%2fetc/passwd", 200, "text/html; charset=utf-8"},
	} {
		t.Run(c.path, func(t *testing.T) {
			r, body := ask(t, "GET", c.path)
			if r.StatusCode != c.status {
				t.Fatalf("status %d, want %d", r.StatusCode, c.status)
			}
			if c.kind != "" && r.Header.Get("Content-Type") != c.kind {
				t.Errorf("type %q, want %q", r.Header.Get("Content-Type"), c.kind)
			}
			if strings.HasPrefix(c.kind, "text/html") && !strings.Contains(body, `<div id="app">`) {
				t.Errorf("not the page of the UI: %.80s", body)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	for _, path := range []string{"/", "/assets/app.js", "/assets/app.css"} {
		r, _ := ask(t, "GET", path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := r.Header.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if csp := r.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("the policy lets too much through: %s", csp)
		}
	}
}

func TestAgain(t *testing.T) {
	first, body := ask(t, "GET", "/assets/app.js", "Accept-Encoding", "gzip")
	if first.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(body, "\x1f\x8b") {
		t.Error("a browser that takes gzip gets something else")
	}
	second, body := ask(t, "GET", "/assets/app.js", "If-None-Match", first.Header.Get("ETag"))
	if second.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("the same file again: status %d with %d bytes, want 304 with none", second.StatusCode, len(body))
	}
	if r, body := ask(t, "HEAD", "/"); r.StatusCode != 200 || body != "" || r.Header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: status %d, %d bytes, length %s", r.StatusCode, len(body), r.Header.Get("Content-Length"))
	}
	if r, _ := ask(t, "POST", "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, want 405 with what is allowed", r.StatusCode)
	}
}
