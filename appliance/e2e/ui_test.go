package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
)

// hostile is what somebody may put into SIP to attack whoever looks at it.
const hostile = `<img src=x onerror=window.hacked=1><script>window.hacked=1</script>`

// attack is a call whose every field that people see is hostile.
func attack(t *testing.T) string {
	w := newTape(t)
	const a, b = "192.0.2.66:5060", "192.0.2.67:5060"
	head := func(start string) string {
		return start + "\r\nVia: SIP/2.0/UDP " + a + ";branch=z9hG4bKattack\r\nMax-Forwards: 70\r\n" +
			"From: \"" + hostile + "\" <sip:mallory@example.com>;tag=attack\r\nTo: <sip:victim@example.com>;tag=b\r\n" +
			"Call-ID: attack" + hostile + "\r\nUser-Agent: " + hostile + "\r\nSubject: " + hostile + "\r\n"
	}
	ask := strings.Replace(head("INVITE sip:victim@example.com SIP/2.0"), ";tag=b\r", "\r", 1)
	w.udp(0, a, b, []byte(ask+"CSeq: 1 INVITE\r\nContact: <sip:mallory@"+a+">\r\nContent-Length: 0\r\n\r\n"))
	w.udp(sec, b, a, []byte(head("SIP/2.0 404 "+hostile)+"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"))
	w.udp(sec+20*msec, a, b, []byte(head("ACK sip:victim@example.com SIP/2.0")+"CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"))
	return w.path()
}

const adminPassword = "correct horse battery staple"

// TestUI: in a real browser, on a daemon that captures live traffic, somebody sets
// ringside up, sees calls arrive, finds one, sees why it was bad, hears it,
// downloads it, and is not attacked by what is in it.
func TestUI(t *testing.T) {
	withoutRace(t)
	l := wire(t, 2)
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.conf")
	if err := os.WriteFile(rules, []byte("default -> sip full, rtp full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	v := listen(t, l, "--http", "127.0.0.1:8080", "--state", filepath.Join(dir, "state"), "--db", filepath.Join(dir, "calls.db"),
		"--spool", filepath.Join(dir, "spool"), "--spool-root", "--spool-reserve", "64MiB", "--rules", rules)
	token := v.setupToken()
	p := browse(t, door(t, l, netns.B, "127.0.0.1:8080"))

	// Calls that go on while somebody looks, some over a bad network.
	path, _ := generate(t, traffic.Options{
		Seed: 71, Calls: 60, Rate: 5, Talk: traffic.Length{Mean: 4 * time.Second}, RTCP: true, Background: 2, InTurn: true,
		Scenarios:   []traffic.Weighted[traffic.Scenario]{{Value: traffic.Answered, Weight: 4}, {Value: traffic.Busy, Weight: 1}, {Value: traffic.Cancelled, Weight: 1}},
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Value: traffic.Impairment{Loss: 0.05}, Weight: 1}},
	})
	calls, bad := framesOf(t, path), framesOf(t, attack(t))
	sent := make(chan struct{})

	if !t.Run("set up", func(t *testing.T) { p.t = t; p.setUp(token) }) {
		return
	}
	go func() {
		defer close(sent)
		send(t, l, bad, replay.Options{Speed: 1, Retry: true})
		send(t, l, calls, replay.Options{Speed: 1, Retry: true})
	}()
	defer func() { <-sent }()
	for _, step := range []struct {
		name string
		run  func(*page)
	}{
		{"live calls appear", (*page).liveCalls},
		{"live SIP appears", (*page).liveSIP},
		{"filter", (*page).filterCalls},
		{"keys", (*page).keys},
		{"hostile SIP is text", (*page).hostileCall},
		{"a bad call", (*page).badCall},
		{"audio", (*page).audio},
		{"download", (*page).download},
		{"screens", (*page).everyScreen},
		{"log in", (*page).logIn},
	} {
		if !t.Run(step.name, func(t *testing.T) { p.t = t; step.run(p); p.quiet() }) {
			t.Fatalf("ringside said\n%s", v.err)
		}
	}
}

func (p *page) setUp(token string) {
	p.open("/")
	p.wait("the first screen", `document.querySelector('h1').textContent === 'Set up ringside'`)
	p.fill("input[name=token]", "wrong")
	p.fill("input[name=password]", adminPassword)
	p.fill("input[name=again]", adminPassword)
	p.click(".form .primary")
	p.wait("the refusal of a wrong token", `document.querySelector('[role=alert]')`)
	p.picture("setup-light")
	p.fill("input[name=token]", token)
	p.click(".form .primary")
	p.wait("the overview", `document.querySelector('nav a[aria-current=page]')?.textContent === 'Overview'`)
}

func (p *page) liveCalls() {
	p.open("/live")
	p.wait("a live call with its quality", `[...document.querySelectorAll('.vrow')].some(r => /talking/.test(r.innerText) && /\d\.\d\d/.test(r.innerText))`)
	p.picture("live-now-light")
}

func (p *page) liveSIP() {
	p.open("/sip")
	p.wait("SIP as it comes", `document.querySelectorAll('.vrow').length > 5`)
	p.run(`document.querySelector('.vrow').click()`)
	p.wait("a message as text", `/SIP\/2\.0/.test(document.querySelector('.detail .sip')?.textContent)`)
	p.picture("sip-now-light")
}

func (p *page) filterCalls() {
	p.open("/calls")
	p.wait("calls that are over", `document.querySelectorAll('.vrow').length > 5`)
	p.fill(".filter input", "outc")
	p.wait("a completion", `[...document.querySelectorAll('.options code')].some(c => c.textContent.startsWith('outcome'))`)
	p.fill(".filter input", "outcome:busy")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.wait("busy calls alone", `(() => { const r = [...document.querySelectorAll('.vrow')]; return r.length > 0 && r.every(x => /busy/.test(x.innerText)); })()`)
	if at := eval[string](p, "location.search"); !strings.Contains(at, "outcome%3Abusy") {
		p.t.Errorf("the filter is not in the address: %s", at)
	}
	p.do(chromedp.Reload())
	p.wait("the same after a reload", `document.querySelector('.filter input')?.value === 'outcome:busy' && document.querySelectorAll('.vrow').length > 0`)
	p.fill(".filter input", "mos<3 nonsense:1")
	p.do(chromedp.KeyEvent(kb.Escape), chromedp.Focus(chromedp.CSS(".filter input")), chromedp.KeyEvent(kb.Enter))
	p.wait("the place of an error", `document.querySelector('.filter mark')?.textContent === 'nonsense'`)
	p.picture("calls-error-light")
}

func (p *page) keys() {
	p.open("/calls")
	p.wait("calls", `document.querySelectorAll('.vrow').length > 3`)
	p.do(chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("k"))
	p.wait("the first row", `document.querySelector('.vrow.at')?.dataset.row === '0'`)
	p.do(chromedp.KeyEvent("/"))
	p.wait("the filter has the focus", `document.activeElement === document.querySelector('.filter input')`)
	p.do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("?"))
	p.wait("the help", `document.querySelector('dialog[open] h2')?.textContent === 'Keys'`)
	p.do(chromedp.KeyEvent(kb.Escape))
	p.wait("no help", `!document.querySelector('dialog[open]')`)
	p.do(chromedp.KeyEvent("g"), chromedp.KeyEvent("e"))
	p.wait("the events", `location.pathname === '/events'`)
}

// hostileCall looks at the attack wherever it is shown.
func (p *page) hostileCall() {
	p.open("/calls?q=caller:mallory&range=all")
	p.wait("the call", `document.querySelectorAll('.vrow').length === 1`)
	shown := func(where string) {
		p.t.Helper()
		p.wait("the text in "+where, fmt.Sprintf(`document.body.innerText.includes(%q)`, hostile))
		if eval[bool](p, `window.hacked !== undefined || !!document.querySelector('img') || document.querySelectorAll('script').length !== 1`) {
			p.t.Errorf("%s: text of a SIP message became markup", where)
		}
	}
	shown("the list")
	p.do(chromedp.KeyEvent("j"), chromedp.KeyEvent(kb.Enter))
	p.wait("the call", `/^\/calls\/\d+$/.test(location.pathname) && !!document.querySelector('.ladderbody')`)
	shown("the call")
	id := eval[string](p, `location.pathname.split('/')[2]`)
	for _, tab := range []string{"messages", "media", "legs", "raw"} {
		p.open("/calls/" + id + "/" + tab)
		if tab == "messages" || tab == "raw" {
			shown(tab)
		}
	}
	p.open("/sip?q=" + "caller:mallory")
	p.open("/events?range=all")
	shown2 := eval[bool](p, `window.hacked !== undefined || !!document.querySelector('img')`)
	if shown2 {
		p.t.Error("events: text of a SIP message became markup")
	}
}

// badCall finds the worst call and reads why.
func (p *page) badCall() {
	p.open("/calls?q=" + "loss%3E2%20mos%3C4.2")
	p.wait("a bad call", `document.querySelectorAll('.vrow').length > 0`)
	p.do(chromedp.KeyEvent("j"), chromedp.KeyEvent(kb.Enter))
	p.wait("its ladder", `document.querySelectorAll('.msg').length >= 6 && document.querySelectorAll('.rtp').length >= 1`)
	lead := eval[string](p, `document.querySelector('.verdictbox .lead').textContent`)
	if !regexp.MustCompile(`^What the (caller|called party) \(.+\) heard was (fair|poor), MOS \d\.\d\d of 5: `).MatchString(lead) {
		p.t.Errorf("it does not say who heard what: %s", lead)
	}
	// A busy machine sends late, too: then the loss is the second reason.
	if all := eval[string](p, `document.querySelector('.verdictbox').innerText`); !regexp.MustCompile(`\d % of the packets from [\d.]+ to [\d.]+ did not arrive here`).MatchString(all) {
		p.t.Errorf("it does not say why the call was bad: %s", all)
	}
	if !strings.Contains(p.text(), "Capture was complete") {
		p.t.Error("it does not say whether our own capture was complete")
	}
	p.run(`document.querySelector('.msg').dispatchEvent(new MouseEvent('click', {bubbles: true}))`)
	p.wait("the INVITE as it was sent", `/^INVITE sip:/.test(document.querySelector('.detail .sip')?.textContent)`)
	p.picture("call-message-light")
	p.do(chromedp.Focus(chromedp.CSS(".ladder")), chromedp.KeyEvent(kb.ArrowDown))
	p.wait("the next message", `document.querySelectorAll('.msg')[1].getAttribute('aria-selected') === 'true'`)
	id := eval[string](p, `location.pathname.split('/')[2]`)
	p.open("/calls/" + id + "/media")
	p.wait("loss, jitter, delay and MOS over time", `document.querySelectorAll('.tabpanel .chart path').length >= 4`)
}

// audio plays a call.
func (p *page) audio() {
	id := eval[string](p, `location.pathname.split('/')[2]`)
	p.open("/calls/" + id + "/audio")
	p.wait("the waveform", `document.querySelectorAll('.wave path:not(.gaps)').length === 2 && document.querySelectorAll('.wave path.gaps').length > 0 && /packets? of .* missing/.test(document.body.innerText)`)
	p.click(".player .primary")
	p.wait("sound", `document.querySelector('audio').currentTime > 0.2`)
	p.picture("call-playing-light")
	p.run(`document.querySelector('audio').pause()`)
}

// download gets the packets of a call as a file that Wireshark reads.
func (p *page) download() {
	p.run(`[...document.querySelectorAll('.callhead .pop > button')].at(-1).click()`)
	p.wait("the menu", `document.querySelector('.callhead .panel a[href*="format=pcapng"]')`)
	p.click(`.callhead .panel a[href*="format=pcapng"]`)
	file := ""
	for deadline := time.Now().Add(patience); file == ""; time.Sleep(50 * time.Millisecond) {
		if found, _ := filepath.Glob(filepath.Join(p.downloads, "*.pcapng")); len(found) > 0 {
			file = found[0]
		} else if time.Now().After(deadline) {
			p.t.Fatalf("no file came; the page shows\n%s", p.text())
		}
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		p.t.Skip("no tshark: what was downloaded is not read")
	}
	out, err := exec.Command("tshark", "-n", "-r", file, "-T", "fields", "-e", "sip.Method", "-Y", "sip.Method").Output()
	if err != nil || !strings.Contains(string(out), "INVITE") || !strings.Contains(string(out), "BYE") {
		p.t.Errorf("tshark reads of %s: %q, %v", file, out, err)
	}
}

// everyScreen looks at every screen, light and dark, wide and narrow.
func (p *page) everyScreen() {
	id := eval[string](p, `location.pathname.split('/')[2]`)
	for _, size := range []struct {
		name          string
		scheme        string
		width, height int64
	}{{"light", "light", 1280, 900}, {"dark", "dark", 1280, 900}, {"narrow", "light", 390, 844}} {
		p.dress(size.scheme, size.width, size.height)
		for _, path := range []string{
			"/overview", "/calls", "/calls/" + id + "/ladder", "/calls/" + id + "/messages", "/calls/" + id + "/media", "/calls/" + id + "/audio",
			"/calls/" + id + "/legs", "/calls/" + id + "/notes", "/calls/" + id + "/raw", "/live", "/sip", "/registrations", "/exchanges", "/events", "/orphans",
			"/trends?metric=mos&by=codec", "/interfaces", "/spool", "/rules", "/settings", "/users", "/users?tab=tokens", "/users?tab=sessions", "/audit", "/parse", "/about",
		} {
			p.turn(path)
			name := strings.Trim(strings.NewReplacer("/calls/"+id, "call", "/", "-", "?tab=", "-", "?metric=mos&by=codec", "").Replace(path), "-")
			p.picture(name + "-" + size.name)
			// A page wider than its window cannot be read on a phone.
			if over := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				p.t.Errorf("%s is %d pixels wider than a window of %d", path, over, size.width)
			}
			if bad := eval[string](p, unnamed); bad != "" {
				p.t.Errorf("%s: a screen reader has no name for %s", path, bad)
			}
			if bad := eval[string](p, faint); bad != "" {
				p.t.Errorf("%s, %s: contrast below 4.5: %s", path, size.name, bad)
			}
			if problem := eval[string](p, `document.querySelector('.note.poor[role=alert]')?.innerText ?? ''`); problem != "" {
				p.t.Errorf("%s shows a problem: %s", path, problem)
			}
		}
	}
	p.dress("light", 1280, 900)
}

// unnamed is a control that a screen reader cannot name; empty if there is none.
const unnamed = `(() => {
	const named = (e) => e.innerText?.trim() || e.getAttribute('aria-label') || e.title || e.labels?.length || (e.getAttribute('aria-labelledby') && document.getElementById(e.getAttribute('aria-labelledby')));
	const bad = [...document.querySelectorAll('a[href], button, input, select, textarea, [role=grid], [role=slider], [role=meter]')].find(e => e.checkVisibility({visibilityProperty: true}) && !named(e) && !e.closest('a')?.innerText && !e.querySelector('.sr'));
	return bad ? bad.outerHTML.slice(0, 200) : '';
})()`

// faint is text with a contrast below 4.5 (WCAG 1.4.3); empty if there is none.
const faint = `(() => {
	const rgba = (s) => { const m = s.match(/[\d.]+/g).map(Number); return s.startsWith('color(') ? [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
	const over = (a, b) => [0, 1, 2].map(i => a[i]*a[3] + b[i]*(1-a[3])).concat(1);
	const lum = (c) => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4; }); return .2126*f[0] + .7152*f[1] + .0722*f[2]; };
	const behind = (e) => { const all = []; for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); all.push(c); if (c[3] === 1) break; } return all.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 1]); };
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; (n = walk.nextNode());) {
		const e = n.parentElement;
		if (!n.textContent.trim() || !e.checkVisibility({visibilityProperty: true}) || e.closest('svg, option, :disabled, .sr')) continue;
		const back = behind(e), text = over(rgba(getComputedStyle(e).color), back);
		const [a, b] = [lum(text), lum(back)].sort((x, y) => y - x);
		if ((a + .05) / (b + .05) < 4.495) return ((a + .05) / (b + .05)).toFixed(2) + ' "' + n.textContent.trim().slice(0, 40) + '" ' + e.className;
	}
	return '';
})()`

// logIn ends the session and begins another, after a wrong password.
func (p *page) logIn() {
	p.open("/calls?q=outcome:busy")
	p.click(".bar .pop > button")
	p.run(`[...document.querySelectorAll('.bar .item')].at(-1).click()`)
	p.wait("the login", `document.querySelector('h1')?.textContent === 'Log in'`)
	p.fill("input[name=user]", "admin")
	p.fill("input[name=password]", "wrong")
	p.click(".form .primary")
	p.wait("the refusal", `document.querySelector('[role=alert]')`)
	p.picture("login-light")
	p.fill("input[name=password]", adminPassword)
	p.click(".form .primary")
	p.wait("where they were", `location.pathname === '/calls' && document.querySelector('.filter input')?.value === 'outcome:busy'`)
}
