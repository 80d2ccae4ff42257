package sandbox

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi" //nolint:gosec // the weakness was mended in Go 1.6.3
	"net/url"
	"strconv"
	"strings"
)

// maxGitRequest bounds what a fetch may ask for: a negotiation of about a million objects.
const maxGitRequest = 64 << 20

// gitPath splits {owner}/{repo}.git/{rest}; ok is false for other paths.
func gitPath(escaped string) (owner, name, rest string, ok bool) {
	before, rest, found := strings.Cut(strings.TrimPrefix(escaped, "/"), ".git/")
	for _, service := range []string{"info/refs", "git-upload-pack"} { // GitHub takes the address without .git, too
		if short, ok := strings.CutSuffix(strings.TrimPrefix(escaped, "/"), "/"+service); ok && !found && strings.Count(short, "/") == 1 {
			before, rest, found = short, service, true
		}
	}
	owner, name, slash := strings.Cut(before, "/")
	if !found || !slash {
		return "", "", "", false
	}
	owner, err1 := url.PathUnescape(owner)
	name, err2 := url.PathUnescape(name)
	return owner, name, rest, err1 == nil && err2 == nil
}

// serveGit lets an installation token with contents:read clone and fetch, and everybody the files of actions. Nothing can be pushed over
// HTTP: people push through the Go API.
func (s *Sandbox) serveGit(w http.ResponseWriter, r *http.Request, owner, name, rest string) {
	_, password, _ := r.BasicAuth()
	s.mu.Lock()
	t := s.token(password)
	repository := s.find(owner, name)
	public := repository != nil && repository.action
	visible := public || t != nil && repository != nil && t.covers(repository)
	s.mu.Unlock()

	reading := rest == "git-upload-pack" || rest == "info/refs" && r.URL.Query().Get("service") == "git-upload-pack"
	switch {
	case t == nil && !public:
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "Invalid username or token.", http.StatusUnauthorized)
		return
	case !visible:
		http.Error(w, "Repository not found.", http.StatusNotFound)
		return
	case !reading || !public && !t.may("contents", "read"):
		http.Error(w, "Write access to repository not granted, or contents may not be read.", http.StatusForbidden)
		return
	}
	s.runBackend(w, r, repository, rest)
}

func (s *Sandbox) runBackend(w http.ResponseWriter, r *http.Request, repository *Repository, rest string) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization") // CGI would hand it to the child's environment
	r.Header.Del("Cookie")
	r.URL.Path = "/" + strconv.FormatInt(repository.id, 10) + ".git/" + rest
	r.URL.RawPath = ""
	r.RequestURI = r.URL.RequestURI()
	if r.ContentLength < 0 { // chunked, which CGI cannot carry
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxGitRequest))
		if err != nil {
			http.Error(w, "The request is too large.", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	handler := cgi.Handler{
		Path:   s.git.backend,
		Dir:    s.dir,
		Env:    append(s.git.environment(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: io.Discard,
	}
	handler.ServeHTTP(w, r)
}
