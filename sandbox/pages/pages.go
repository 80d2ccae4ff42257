// Package pages shows the repositories of the GitHub stand-in as a person would see them on
// github.com, and lets that person act: comment, review, merge, close, press a check's button. The stand-in
// serves its handler for every path that is neither API nor git. It reads and acts only through the
// Go API of the stand-in, keeps no state, and trusts no text that it shows.
package pages

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

//go:embed templates
var templatesFS embed.FS

//go:embed assets/style.css
var styleCSS []byte

//go:embed assets/live.js
var liveJS []byte

// contentPolicy lets a page load nothing but its own style sheet and script, and send forms only to itself.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds what a form may send: a comment of GitHub's maximal length, percent-encoded.
const maxForm = 1 << 20

// Options say how the pages are made.
type Options struct {
	Now func() time.Time // what "3 minutes ago" counts from; time.Now when nil
}

// pages serves the pages of one sandbox.
type pages struct {
	world     *sandbox.Sandbox
	now       func() time.Time
	token     string // in every form: another site cannot read it
	templates *template.Template
}

// Handler returns the pages of a sandbox. It goes into the sandbox's SetPages.
func Handler(world *sandbox.Sandbox, o Options) (http.Handler, error) {
	p := &pages{world: world, now: o.Now, token: rand.Text()}
	if p.now == nil {
		p.now = time.Now
	}
	var err error
	if p.templates, err = template.New("").Funcs(p.functions()).ParseFS(templatesFS, "templates/*.html"); err != nil {
		return nil, fmt.Errorf("parse the templates: %w", err)
	}
	return secure(http.NewCrossOriginProtection().Handler(p.routes())), nil
}

func (p *pages) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /-/style.css", asset("text/css; charset=utf-8", styleCSS))
	mux.HandleFunc("GET /-/live.js", asset("text/javascript; charset=utf-8", liveJS))
	mux.HandleFunc("GET /-/events", p.events)
	mux.HandleFunc("GET /-/deliveries", p.deliveries)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /{owner}", p.owner)
	mux.HandleFunc("GET /{owner}/{repo}", p.repository)
	mux.HandleFunc("GET /{owner}/{repo}/pulls", p.pulls)
	mux.HandleFunc("GET /{owner}/{repo}/pull/{number}", p.thread)
	mux.HandleFunc("GET /{owner}/{repo}/issues", p.issues)
	mux.HandleFunc("GET /{owner}/{repo}/issues/{number}", p.thread)
	mux.HandleFunc("GET /{owner}/{repo}/deployments", p.deployments)
	mux.HandleFunc("GET /{owner}/{repo}/branches", p.branches)
	mux.HandleFunc("GET /{owner}/{repo}/commits/{ref...}", p.commits)
	mux.HandleFunc("GET /{owner}/{repo}/tree/{ref...}", p.commits)
	mux.HandleFunc("GET /{owner}/{repo}/commit/{sha}", p.commit)
	mux.HandleFunc("GET /{owner}/{repo}/runs/{id}", p.run)

	mux.HandleFunc("POST /{owner}/{repo}/pull", p.act(openPull))
	mux.HandleFunc("POST /{owner}/{repo}/issues", p.act(openIssue))
	mux.HandleFunc("POST /{owner}/{repo}/pull/{number}/{act}", p.act(actOnThread))
	mux.HandleFunc("POST /{owner}/{repo}/issues/{number}/{act}", p.act(actOnThread))
	mux.HandleFunc("POST /{owner}/{repo}/runs/{id}/{act}", p.act(actOnRun))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.missing(w, r) })
	return mux
}

// secure sets the headers that every page has, bounds what is sent, and refuses requests for another
// host: a name that an attacker points at this machine would make the attacker's page one of ours.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		if !loopback(r.Host) {
			http.Error(w, "This page is served to this machine only: open it by its address 127.0.0.1 or as localhost.",
				http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

func loopback(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func asset(kind string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content) // the browser that is gone needs no answer
	}
}

// show renders a page completely before it sends the first byte, so that a fault is never half a page.
func (p *pages) show(w http.ResponseWriter, status int, name string, page any) {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, page); err != nil {
		http.Error(w, "This page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser that is gone needs no answer
}

func (p *pages) missing(w http.ResponseWriter, r *http.Request) {
	p.show(w, http.StatusNotFound, "missing.html", struct {
		frame

		Path string
	}{frame{Title: "Not found", Token: p.token}, r.URL.Path})
}
