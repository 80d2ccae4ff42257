package pages

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// errUnknownAct is the answer to a form that no page has.
var errUnknownAct = errors.New("this page has no such button")

// deed does what a form asks for, as a person, and returns the address to go on with.
type deed func(r *http.Request, repository *sandbox.Repository, as string) (next string, err error)

// act guards a deed: the form must be one of ours, and the person one that the sandbox has. What the
// sandbox refuses is shown on the page that the form was on.
func (p *pages) act(do deed) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form could not be read: it is too large or malformed.", http.StatusBadRequest)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.PostForm.Get("token")), []byte(p.token)) != 1 {
			http.Error(w, "The form is not from this page, or from before a restart. Go back, reload the page and try again.",
				http.StatusForbidden)
			return
		}
		repository, ok := p.find(w, r)
		if !ok {
			return
		}
		as := r.PostForm.Get("as")
		if !p.isPerson(as) {
			p.refuse(w, r, repository, fmt.Errorf("nobody here is called %q", as))
			return
		}
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // not a secret, and loopback has no TLS
			Name: personCookie, Value: url.QueryEscape(as), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
		next, err := do(r, repository, as)
		if err != nil {
			p.refuse(w, r, repository, err)
			return
		}
		http.Redirect(w, r, p.repo(repository).Path()+next, http.StatusSeeOther) //nolint:gosec // a path of ours
	}
}

func (p *pages) isPerson(login string) bool {
	for _, person := range p.world.People() {
		if person.Login == login && !person.Bot {
			return true
		}
	}
	return false
}

// refuse shows the page of the form again, with the reason and the text that was typed.
func (p *pages) refuse(w http.ResponseWriter, r *http.Request, repository *sandbox.Repository, err error) {
	const status = http.StatusUnprocessableEntity
	switch {
	case r.PathValue("number") != "":
		p.showThread(w, r, repository, status, err.Error(), r.PostForm.Get("body"))
	case r.PathValue("id") != "":
		sha, ok := commitOfRun(repository, r.PathValue("id"))
		if !ok {
			p.missing(w, r)
			return
		}
		p.showCommit(w, r, repository, sha, status, err.Error())
	case strings.HasSuffix(r.URL.Path, "/issues"):
		p.showIssues(w, r, repository, status, err.Error())
	default:
		p.showPulls(w, r, repository, status, err.Error())
	}
}

// typed is a field of a form with the line ends that a person typed: browsers send CRLF.
func typed(r *http.Request, field string) string {
	return strings.ReplaceAll(r.PostForm.Get(field), "\r\n", "\n")
}

func actOnThread(r *http.Request, repository *sandbox.Repository, as string) (string, error) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return "", fmt.Errorf("read the number: %w", err)
	}
	kind := "issues"
	if _, isPull := repository.PullView(number); isPull {
		kind = "pull"
	}
	next := fmt.Sprintf("/%s/%d", kind, number)
	switch r.PathValue("act") {
	case "comment":
		if strings.TrimSpace(typed(r, "body")) == "" {
			return "", errors.New("a comment needs some text")
		}
		var id int64
		id, err = repository.Comment(r.Context(), as, number, typed(r, "body"))
		next += fmt.Sprintf("#issuecomment-%d", id)
	case "merge":
		_, err = repository.Merge(r.Context(), as, number, r.PostForm.Get("method"))
	case "approve":
		next, err = review(r, repository, as, number, sandbox.Approved)
	case "request-changes":
		if strings.TrimSpace(typed(r, "body")) == "" {
			return "", errors.New("a request for changes needs some text: say what to change")
		}
		next, err = review(r, repository, as, number, sandbox.ChangesRequested)
	case "base":
		err = repository.EditBase(r.Context(), as, number, r.PostForm.Get("base"))
	case "close":
		err = repository.ClosePull(r.Context(), as, number)
	case "reopen":
		err = repository.ReopenPull(r.Context(), as, number)
	default:
		return "", errUnknownAct
	}
	if err != nil {
		return "", fmt.Errorf("%s as %s: %w", r.PathValue("act"), as, err)
	}
	return next, nil
}

// review gives a review with the text that was typed, and returns the address of its place on the page.
func review(r *http.Request, repository *sandbox.Repository, as string, number int, state string) (string, error) {
	var body []string
	if text := typed(r, "body"); strings.TrimSpace(text) != "" {
		body = append(body, text)
	}
	id, err := repository.Review(r.Context(), as, number, state, body...)
	if err != nil {
		return "", fmt.Errorf("review: %w", err)
	}
	return fmt.Sprintf("/pull/%d#pullrequestreview-%d", number, id), nil
}

func actOnRun(r *http.Request, repository *sandbox.Repository, as string) (string, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return "", fmt.Errorf("read the check's id: %w", err)
	}
	switch r.PathValue("act") {
	case "rerequest":
		err = repository.RerequestCheck(r.Context(), as, id)
	case "action":
		err = repository.ClickCheckAction(r.Context(), as, id, r.PostForm.Get("identifier"))
	default:
		return "", errUnknownAct
	}
	if err != nil {
		return "", fmt.Errorf("press the button as %s: %w", as, err)
	}
	if pull, err := strconv.Atoi(r.PostForm.Get("pull")); err == nil && pull > 0 {
		return fmt.Sprintf("/pull/%d", pull), nil // the page on which the button was
	}
	return fmt.Sprintf("/runs/%d", id), nil
}

func openPull(r *http.Request, repository *sandbox.Repository, as string) (string, error) {
	number, err := repository.OpenPull(r.Context(), as, sandbox.Pull{
		From: r.PostForm.Get("from"), To: r.PostForm.Get("to"), Title: typed(r, "title"), Body: typed(r, "body"),
	})
	if err != nil {
		return "", fmt.Errorf("open the pull request as %s: %w", as, err)
	}
	return fmt.Sprintf("/pull/%d", number), nil
}

func openIssue(r *http.Request, repository *sandbox.Repository, as string) (string, error) {
	if strings.TrimSpace(typed(r, "title")) == "" {
		return "", errors.New("an issue needs a title")
	}
	number, err := repository.OpenIssue(r.Context(), as, typed(r, "title"), typed(r, "body"))
	if err != nil {
		return "", fmt.Errorf("open the issue as %s: %w", as, err)
	}
	return fmt.Sprintf("/issues/%d", number), nil
}
