package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The ways to merge a pull request.
const (
	MergeCommit = "merge"
	Squash      = "squash"
	Rebase      = "rebase"
)

// Merge merges a pull request with "merge", "squash" or "rebase" and sends pull_request.closed and
// push. It returns the new commit of the base branch.
func (r *Repository) Merge(ctx context.Context, as string, number int, method string) (string, error) {
	s := r.sandbox
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	actor, err := r.actor(as, Write)
	t, pullErr := r.pullNumber(number)
	if err == nil {
		err = pullErr
	}
	var m mergeJob
	if err == nil {
		m = mergeJob{
			repository: r, actor: actor, head: t.pull.head, base: t.pull.base.branch, onto: r.branches[t.pull.base.branch],
			title: t.title, number: number, commits: slices.Clone(t.pull.facts.commits),
		}
		if t.closed || t.pull.draft {
			err = fmt.Errorf("pull request %d is closed or a draft", number)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	landed, err := m.run(ctx, method)
	if err != nil {
		return "", fmt.Errorf("merge pull request %d: %w", number, err)
	}
	sha := landed[len(landed)-1]
	if err := s.git.updateRef(ctx, r.dir, "refs/heads/"+m.base, sha); err != nil {
		return "", err
	}
	r.merged(actor, t, sha, landed)
	return sha, r.land(ctx, actor, activityMerge, m.base, m.onto, sha)
}

// mergeJob is one merge: what onto which commit.
type mergeJob struct {
	repository *Repository
	actor      *account
	head       side
	base       string
	onto       string
	title      string
	number     int
	commits    []string // of the pull request, newest first
}

// run returns the commits that the merge adds to the base branch, oldest first.
func (m mergeJob) run(ctx context.Context, method string) ([]string, error) {
	s, dir := m.repository.sandbox, m.repository.dir
	if method == Rebase {
		return m.rebase(ctx)
	}
	tree, clean, err := s.git.mergeTree(ctx, dir, m.onto, m.head.sha)
	if err != nil {
		return nil, err
	}
	if !clean {
		return nil, fmt.Errorf("%s and %s conflict", m.base, m.head.branch)
	}
	by := person{m.actor.name, m.actor.email(), s.now()}
	web := person{"GitHub", "noreply@github.com", s.now()}
	var sha string
	switch method {
	case MergeCommit:
		message := fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s", m.number, m.head.repository.owner.login, m.head.branch, m.title)
		sha, err = s.git.commitTree(ctx, dir, tree, message, by, web, m.onto, m.head.sha)
	case Squash:
		var message string
		if message, err = m.squashMessage(ctx); err == nil {
			sha, err = s.git.commitTree(ctx, dir, tree, message, by, web, m.onto)
		}
	default:
		return nil, fmt.Errorf("%q is no way to merge: it is merge, squash or rebase", method)
	}
	return []string{sha}, err
}

func (m mergeJob) squashMessage(ctx context.Context) (string, error) {
	message := m.title + " (#" + strconv.Itoa(m.number) + ")"
	if len(m.commits) < 2 { //nolint:mnd // a list of one says nothing new
		return message, nil
	}
	commits, err := m.repository.sandbox.git.log(ctx, m.repository.dir, m.head.sha, pushedCommits, m.onto)
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for _, c := range commits {
		subject, _, _ := strings.Cut(c.message, "\n")
		list.WriteString("\n\n* " + subject)
	}
	return message + list.String(), nil
}

// rebase copies each commit of the pull request onto the base. Like GitHub it makes new commits even
// where the base has not moved, and leaves merge commits out.
func (m mergeJob) rebase(ctx context.Context) ([]string, error) {
	s, dir := m.repository.sandbox, m.repository.dir
	out, err := s.git.run(ctx, gitCall{dir: dir, args: []string{
		"rev-list", "--topo-order", "--reverse", "--no-merges", "--parents", m.head.sha, "^" + m.onto,
	}})
	if err != nil {
		return nil, err
	}
	var landed []string
	tip := m.onto
	for row := range strings.Lines(string(out)) {
		f := strings.Fields(row)
		if len(f) != 2 { //nolint:mnd // the commit and its one parent
			return nil, fmt.Errorf("commit %s cannot be rebased", strings.TrimSpace(row))
		}
		if tip, err = m.pick(ctx, f[0], f[1], tip); err != nil {
			return nil, err
		}
		landed = append(landed, tip)
	}
	if len(landed) == 0 {
		return nil, fmt.Errorf("%s has no commits that %s lacks", m.head.branch, m.base)
	}
	return landed, nil
}

// pick copies one commit onto tip. git merge-tree finds its merge base from history, so three
// commits that only carry the trees stand in for the real ones.
func (m mergeJob) pick(ctx context.Context, commit, parent, tip string) (string, error) {
	s, dir := m.repository.sandbox, m.repository.dir
	web := person{"GitHub", "noreply@github.com", s.now()}
	base, err := s.git.commitTree(ctx, dir, parent+"^{tree}", "base", web, web)
	if err != nil {
		return "", err
	}
	ours, err := s.git.commitTree(ctx, dir, tip+"^{tree}", "ours", web, web, base)
	if err != nil {
		return "", err
	}
	theirs, err := s.git.commitTree(ctx, dir, commit+"^{tree}", "theirs", web, web, base)
	if err != nil {
		return "", err
	}
	tree, clean, err := s.git.mergeTree(ctx, dir, ours, theirs)
	if err != nil {
		return "", err
	}
	if !clean {
		return "", fmt.Errorf("commit %s conflicts with %s", commit, m.base)
	}
	original, err := s.git.log(ctx, dir, commit, 1)
	if err != nil {
		return "", err
	}
	by := person{m.actor.name, m.actor.email(), s.now()}
	return s.git.commitTree(ctx, dir, tree, original[0].message, original[0].author, by, tip)
}

// QueueMergeGroup makes the merge commits that a merge queue tests, on a branch of its own, and sends
// push and merge_group.checks_requested. The pull requests stay open.
func (r *Repository) QueueMergeGroup(ctx context.Context, base string, numbers ...int) (MergeGroup, error) {
	s := r.sandbox
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	start := r.branches[base]
	bot := s.bot()
	var jobs []mergeJob
	var err error
	for _, number := range numbers {
		t, pullErr := r.pullNumber(number)
		if pullErr != nil || t.closed {
			err = fmt.Errorf("%s has no open pull request %d", r.FullName(), number)
			break
		}
		jobs = append(jobs, mergeJob{
			repository: r, actor: t.author, head: t.pull.head, base: base, title: t.title, number: number, commits: t.pull.facts.commits,
		})
	}
	s.mu.Unlock()
	if err == nil && (start == "" || len(jobs) == 0) {
		err = fmt.Errorf("a merge group needs a base branch and pull requests: %q, %v", base, numbers)
	}
	if err != nil {
		return MergeGroup{}, err
	}
	tip := start
	for _, job := range jobs {
		job.onto = tip
		landed, err := job.run(ctx, MergeCommit)
		if err != nil {
			return MergeGroup{}, fmt.Errorf("queue pull request %d: %w", job.number, err)
		}
		tip = landed[0]
	}
	branch := fmt.Sprintf("gh-readonly-queue/%s/pr-%d-%s", base, numbers[len(numbers)-1], start)
	return r.requestChecks(ctx, bot, MergeGroup{Ref: "refs/heads/" + branch, Base: base, SHA: tip}, start)
}

func (r *Repository) requestChecks(ctx context.Context, actor *account, g MergeGroup, baseSHA string) (MergeGroup, error) {
	s := r.sandbox
	if err := s.git.updateRef(ctx, r.dir, g.Ref, g.SHA); err != nil {
		return MergeGroup{}, err
	}
	if err := r.land(ctx, actor, activityPush, strings.TrimPrefix(g.Ref, "refs/heads/"), "", g.SHA); err != nil {
		return MergeGroup{}, err
	}
	newest, err := s.git.log(ctx, r.dir, g.SHA, 1)
	if err != nil {
		return MergeGroup{}, err
	}
	c := newest[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(r, actor, "merge_group", "checks_requested", object{"merge_group": object{
		"head_sha": g.SHA, "head_ref": g.Ref, "base_ref": "refs/heads/" + g.Base, "base_sha": baseSHA,
		"head_commit": object{
			"id": c.sha, "tree_id": c.tree, "message": c.message, "timestamp": stamp(c.committer.when),
			"author":    object{"name": c.author.name, "email": c.author.email},
			"committer": object{"name": c.committer.name, "email": c.committer.email},
		},
	}})
	s.change()
	return g, nil
}
