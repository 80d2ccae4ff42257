package sandbox

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// servicesPath is where jobs find what GitHub serves beside its API: identities, uploads, and what a redirect leads to. The
	// service of artifacts is at the root, since GitHub's own client asks there whatever path its address has.
	servicesPath = "/_services/"
	// offerLife is how long an address of a redirect is valid.
	// https://docs.github.com/en/rest/actions/artifacts#download-an-artifact
	offerLife = time.Minute
)

// offer is something that whoever has the address may get.
type offer struct {
	content []byte
	kind    string
	expires time.Time
}

// offer gives content an address. The caller holds mu.
func (s *Sandbox) offer(content []byte, kind string) string {
	id := randomHex()
	s.offers[id] = offer{content, kind, s.now().Add(offerLife)}
	return s.url + servicesPath + "offers/" + id
}

// serveServices answers what is not the API. It reports whether the path is one of these.
func (s *Sandbox) serveServices(w http.ResponseWriter, r *http.Request) bool {
	if method, ok := strings.CutPrefix(r.URL.Path, "/"+artifactService); ok {
		s.serveResults(w, r, method)
		return true
	}
	rest, ok := strings.CutPrefix(r.URL.Path, servicesPath)
	if !ok {
		return false
	}
	service, rest, _ := strings.Cut(rest, "/")
	switch service {
	case "offers":
		s.serveOffer(w, r, rest)
	case "oidc":
		s.serveIdentity(w, r, rest)
	case "blobs":
		s.serveBlob(w, r, rest)
	default:
		answer := s.refuseUnserved(r)
		answer.write(w)
	}
	return true
}

func (s *Sandbox) serveOffer(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	found, ok := s.offers[id]
	ok = ok && s.now().Before(found.expires)
	s.mu.Unlock()
	if !ok {
		http.Error(w, "Signature not valid in the specified time frame", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", found.kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(found.content))
}

// jobOf finds the job whose runtime token a request carries; nil is none. The caller holds mu.
func (s *Sandbox) jobOf(r *http.Request) *job {
	kind, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "bearer") {
		return nil
	}
	return s.runtimes[secret]
}

// backendIDs name run and job to the service of artifacts.
func (j *job) backendIDs() (run, job string) {
	return "run-" + strconv.FormatInt(j.run.id, 10) + "-" + strconv.Itoa(j.run.attempt), "job-" + strconv.FormatInt(j.id, 10)
}
