package pages

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// maxCommits bounds the commits that a page lists.
const maxCommits = 50

// commits shows the commits of a ref. Both the ref's name and a SHA are fine.
func (p *pages) commits(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	ref := r.PathValue("ref")
	sha, ok := resolve(repository, ref)
	if !ok {
		p.missing(w, r)
		return
	}
	commits, err := repository.Commits(r.Context(), sha, maxCommits)
	if err != nil || len(commits) == 0 {
		p.missing(w, r)
		return
	}
	type row struct {
		sandbox.Commit

		Checks checks
	}
	rows := make([]row, 0, len(commits))
	for _, commit := range commits {
		rows = append(rows, row{commit, checkBox(repository, commit.SHA, "")})
	}
	p.show(w, http.StatusOK, "commits.html", struct {
		frame

		Ref     string
		Commits []row
	}{p.frame(r, "Commits on "+ref, "branches", repository), ref, rows})
}

// commitName is a SHA, whole or cut.
var commitName = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

// resolve turns a branch's name or a SHA into a SHA. Anything else is not given to git.
func resolve(repository *sandbox.Repository, ref string) (string, bool) {
	if sha, ok := repository.Branches()[ref]; ok {
		return sha, true
	}
	return ref, commitName.MatchString(ref)
}

func (p *pages) commit(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	p.showCommit(w, r, repository, r.PathValue("sha"), http.StatusOK, "")
}

func (p *pages) showCommit(w http.ResponseWriter, r *http.Request, repository *sandbox.Repository, sha string, status int, refusal string) {
	sha, ok := resolve(repository, sha)
	if !ok {
		p.missing(w, r)
		return
	}
	commits, err := repository.Commits(r.Context(), sha, 1)
	if err != nil || len(commits) == 0 {
		p.missing(w, r)
		return
	}
	commit := commits[0]
	var pulls []sandbox.PullView
	for _, pull := range repository.Pulls() {
		if pull.Head.SHA == commit.SHA || pull.MergeCommit == commit.SHA || slices.Contains(pull.Commits, commit.SHA) {
			pulls = append(pulls, pull)
		}
	}
	box := checkBox(repository, commit.SHA, "")
	for i := range box.Rows {
		box.Rows[i].Open = true
	}
	f := p.frame(r, commit.Subject+" · "+short(commit.SHA), "branches", repository)
	f.Error, f.Address = refusal, f.Repo.Path()+"/commit/"+commit.SHA
	p.show(w, status, "commit.html", struct {
		frame

		Commit      sandbox.Commit
		Box         checks
		Deployments []deployment
		Pulls       []sandbox.PullView
	}{f, commit, box, deploymentsAt(repository, commit.SHA), pulls})
}

// run leads from the address of a check run to its place on the page of its commit.
func (p *pages) run(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	sha, ok := commitOfRun(repository, r.PathValue("id"))
	if !ok {
		p.missing(w, r)
		return
	}
	next := p.repo(repository).Path() + "/commit/" + sha + "#check-" + r.PathValue("id")
	http.Redirect(w, r, next, http.StatusFound) //nolint:gosec // a path of ours
}

// commitOfRun finds the commit of a check run among the commits that pages lead to.
func commitOfRun(repository *sandbox.Repository, id string) (string, bool) {
	var candidates []string
	for _, sha := range repository.Branches() {
		candidates = append(candidates, sha)
	}
	for _, pull := range repository.Pulls() {
		candidates = append(candidates, pull.Head.SHA, pull.MergeCommit)
		candidates = append(candidates, pull.Commits...)
	}
	slices.Sort(candidates)
	for _, sha := range slices.Compact(candidates) {
		if sha == "" {
			continue
		}
		for _, run := range repository.Checks(sha) {
			if strconv.FormatInt(run.ID, 10) == id {
				return sha, true
			}
		}
	}
	return "", false
}
