package sandbox

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Branches are the branches with their newest commits.
func (r *Repository) Branches() map[string]string {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	return maps.Clone(r.branches)
}

// PullView is the pull request with this number.
func (r *Repository) PullView(number int) (PullView, bool) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	t, err := r.pullNumber(number)
	if err != nil {
		return PullView{}, false
	}
	return r.pullView(t), true
}

// Pulls are all pull requests, newest first.
func (r *Repository) Pulls() []PullView {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	var views []PullView
	for _, t := range slices.Backward(r.pulls()) {
		views = append(views, r.pullView(t))
	}
	return views
}

func (r *Repository) pullView(t *thread) PullView {
	p := t.pull
	end := func(e side) Branch { return Branch{Repository: e.repository.FullName(), Name: e.branch, SHA: e.sha} }
	v := PullView{
		ID: p.id, Number: t.number, Title: t.title, Body: t.body, State: threadState(t), Draft: p.draft,
		Author: t.author.login, AuthorIsBot: t.author.kind == "Bot", Head: end(p.head), Base: end(p.base),
		Fork: p.head.repository != r, HeadExists: p.head.repository.branches[p.head.branch] != "",
		Mergeable: !t.closed && p.facts.testMerge != "", Labels: labelNames(t.labels), Comments: commentViews(t),
		Reviews: reviewViews(t),
		Checks:  r.newestChecks(p.head.sha), Commits: slices.Clone(p.facts.commits), ChangedFiles: p.facts.files,
		Additions: p.facts.additions, Deletions: p.facts.deletions, CreatedAt: t.created, UpdatedAt: t.updated,
		ClosedAt: t.closedAt, MergedAt: p.mergedAt, HTMLURL: t.htmlURL(r), RepositoryName: r.FullName(),
	}
	if p.merged {
		v.State, v.MergeCommit, v.MergedBy = "merged", p.mergeSHA, p.mergedBy.login
	} else if !t.closed {
		v.TestMergeHead = p.facts.testMerge
	}
	return v
}

func labelNames(labels []*label) []string {
	names := make([]string, 0, len(labels))
	for _, l := range labels {
		names = append(names, l.name)
	}
	return names
}

func commentViews(t *thread) []Comment {
	views := make([]Comment, 0, len(t.comments))
	for _, c := range t.comments {
		views = append(views, Comment{
			ID: c.id, NodeID: nodeID("IC", c.id), Author: c.author.login, Bot: c.author.kind == "Bot", Body: c.body,
			Minimized: c.minimized != "", MinimizedReason: c.minimized, Reactions: c.counts(),
			CreatedAt: c.created, UpdatedAt: c.updated, Edits: c.edits,
		})
	}
	return views
}

// Issue is the issue with this number.
func (r *Repository) Issue(number int) (IssueView, bool) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	t := r.threads[number]
	if t == nil || t.pull != nil {
		return IssueView{}, false
	}
	return issueView(t), true
}

// Issues are all issues without pull requests, newest first.
func (r *Repository) Issues() []IssueView {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	var views []IssueView
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(r.threads))) {
		if t := r.threads[number]; t.pull == nil {
			views = append(views, issueView(t))
		}
	}
	return views
}

func issueView(t *thread) IssueView {
	return IssueView{
		ID: t.id, Number: t.number, Title: t.title, Body: t.body, State: threadState(t), Author: t.author.login,
		Labels: labelNames(t.labels), Comments: commentViews(t), CreatedAt: t.created, UpdatedAt: t.updated, ClosedAt: t.closedAt,
	}
}

// Checks are the newest check runs of each name on a commit, by name.
func (r *Repository) Checks(sha string) []Check {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	return r.newestChecks(sha)
}

func (r *Repository) newestChecks(sha string) []Check {
	newest := map[string]Check{}
	for _, c := range r.checks {
		if c.HeadSHA == sha {
			newest[c.Name] = c.view()
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
}

func (c *check) view() Check {
	v := c.Check
	v.Actions = slices.Clone(v.Actions)
	return v
}

// Deployments are the deployments to an environment, or to all where it is empty, newest first.
func (r *Repository) Deployments(environment string) []Deployment {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	var views []Deployment
	for _, d := range slices.Backward(r.deployments) {
		if environment != "" && d.Environment != environment {
			continue
		}
		v := d.Deployment
		v.States = slices.Clone(v.States)
		views = append(views, v)
	}
	return views
}

// Commits are at most limit commits of a branch, tag or SHA, newest first.
func (r *Repository) Commits(ctx context.Context, ref string, limit int) ([]Commit, error) {
	git := r.sandbox.git
	sha, err := git.resolve(ctx, r.dir, ref)
	if err != nil {
		return nil, err
	}
	logged, err := git.log(ctx, r.dir, sha, limit)
	if err != nil {
		return nil, err
	}
	commits := make([]Commit, 0, len(logged))
	for _, c := range slices.Backward(logged) {
		subject, _, _ := strings.Cut(c.message, "\n")
		commits = append(commits, Commit{SHA: c.sha, Author: c.author.name, Subject: subject, Time: c.committer.when})
	}
	return commits, nil
}

// ReadFile is the content of a file at a branch, tag or SHA; false when there is none.
func (r *Repository) ReadFile(ctx context.Context, ref, path string) (string, bool, error) {
	git := r.sandbox.git
	sha, err := git.resolve(ctx, r.dir, ref)
	if errors.Is(err, errNoSuchObject) {
		return "", false, nil
	} else if err != nil {
		return "", false, err
	}
	entries, err := git.entries(ctx, r.dir, sha, path)
	if err != nil || len(entries) != 1 || entries[0].kind != "blob" {
		return "", false, err
	}
	content, err := git.blob(ctx, r.dir, entries[0].sha)
	return string(content), err == nil, err
}

// Effects are the writes that the API got, in order, each in one readable line.
func (s *Sandbox) Effects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.effects)
}

// Calls counts API calls by method and route, e.g. "GET /repos/{owner}/{repo}/pulls/{pull_number}",
// without those for tokens, those answered 304 and those not served. Faults count.
func (s *Sandbox) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Unserved are the requests that were answered 501, each once, sorted.
func (s *Sandbox) Unserved() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.unserved))
}
