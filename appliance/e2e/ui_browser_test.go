package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"ringside/bench/netns"
)

// page is a real browser with one page, and what its console said.
type page struct {
	t         *testing.T
	ctx       context.Context
	base      string // of addresses, without a slash at the end
	downloads string

	mu      sync.Mutex
	console []string // exceptions and errors, those of refused requests apart
}

// patience is how long a page may take for one thing on a busy machine.
const patience = 90 * time.Second

// browse starts a browser.
func browse(t *testing.T, base string) *page {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium: the UI is not tried in a browser")
	}
	p := &page{t: t, base: base, downloads: t.TempDir()}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("hide-scrollbars", true), chromedp.Flag("mute-audio", true), chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	t.Cleanup(stop)
	p.ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	// The first step starts the browser, which lives as long as the step's context.
	if err := chromedp.Do(p.ctx, chromedp.Navigate("about:blank"), chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.CallBrowser(p.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: p.downloads}); err != nil {
		t.Fatal(err)
	}
	said := chromedp.Console(p.ctx)
	go func() {
		for m, err := range said {
			if err != nil {
				return
			}
			// A request that is refused is an answer, and what came of it is tested on the page.
			if text := m.String(); (m.IsException() || strings.HasPrefix(text, "error")) && !strings.Contains(text, "Failed to load resource") {
				p.mu.Lock()
				p.console = append(p.console, text)
				p.mu.Unlock()
			}
		}
	}()
	return p
}

// do takes steps, each within patience.
func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v; the page shows\n%s", err, p.text())
	}
}

// open goes to a place of the UI.
func (p *page) open(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.base + path))
	p.settle()
}

// settle waits until the screen has what it asked for.
func (p *page) settle() {
	p.t.Helper()
	// What a screen asks for when it is drawn is asked for a frame later.
	time.Sleep(100 * time.Millisecond)
	p.wait("the screen", `!!document.querySelector('h1') && !document.querySelector('.wait')`)
}

// turn goes to a place of the UI as a link in it does, without loading the page.
func (p *page) turn(path string) {
	p.t.Helper()
	p.run(fmt.Sprintf("history.pushState(null, '', %q); dispatchEvent(new PopStateEvent('popstate'))", path))
	p.settle()
}

// eval is the value of an expression on the page.
func eval[T any](p *page, js string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// run runs something on the page.
func (p *page) run(js string) {
	p.t.Helper()
	eval[any](p, js+"; 0") // what it comes to is of no interest, and need not be JSON
}

// wait waits until an expression is true.
func (p *page) wait(what, js string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if eval[bool](p, "Boolean("+js+")") {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain for %s (%s); the page shows\n%s", what, js, p.text())
		}
	}
}

// text is what the page shows.
func (p *page) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText.slice(0, 4000)"))
	if err != nil {
		return err.Error()
	}
	return s
}

// fill types into a field, in place of what is in it.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.Focus(chromedp.CSS(selector)))
	p.run(fmt.Sprintf("document.querySelector(%q).select()", selector))
	p.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (p *page) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// dress sets what the system says of colours, and the size of the window.
func (p *page) dress(scheme string, width, height int64) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		p.t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(width, height))
}

// screens is where pictures are kept for people to look at.
const screens = "../../build/screens"

// picture keeps what the page looks like.
func (p *page) picture(name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.MkdirAll(screens, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screens, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// quiet fails if the page had exceptions or broke its own policy.
func (p *page) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.console {
		p.t.Errorf("console: %s", line)
	}
}

// door makes a port inside of a namespace reachable for a browser outside of it,
// and for nobody else: a port of the loopback here.
func door(t *testing.T, l *netns.Link, side int, inside string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var to net.Conn
				if err := l.Do(side, func() (err error) {
					to, err = net.Dial("tcp", inside)
					return err
				}); err != nil {
					return
				}
				defer to.Close()
				go func() {
					io.Copy(to, c)
					to.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(c, to)
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}
