package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// actor finds who acts and refuses what GitHub would refuse. The caller holds mu.
func (r *Repository) actor(as string, needs Role) (*account, error) {
	a, err := r.sandbox.account(as)
	if err != nil {
		return nil, err
	}
	if role := r.role(as); !role.atLeast(needs) {
		return nil, fmt.Errorf("%s may not do this in %s: it needs %s and %s has %s", as, r.FullName(), needs, as, role)
	}
	return a, nil
}

// pulls lists the pull requests, oldest first. The caller holds mu.
func (r *Repository) pulls() []*thread {
	var all []*thread
	for _, number := range slices.Sorted(maps.Keys(r.threads)) {
		if t := r.threads[number]; t.pull != nil {
			all = append(all, t)
		}
	}
	return all
}

// pullNumber finds a pull request. The caller holds mu.
func (r *Repository) pullNumber(number int) (*thread, error) {
	t := r.threads[number]
	if t == nil || t.pull == nil {
		return nil, fmt.Errorf("%s has no pull request %d", r.FullName(), number)
	}
	return t, nil
}

// Push adds a commit to a branch and sends push, and pull_request.synchronize for each open pull
// request from it. The branch is made where it does not exist. Without files, deletions and message a
// new branch gets no commit of its own. It returns the branch's new SHA.
func (r *Repository) Push(
	ctx context.Context, as, branch string, files map[string]string, message string, options ...PushOptions,
) (string, error) {
	var o PushOptions
	if len(options) > 0 {
		o = options[0]
	}
	s := r.sandbox
	if err := s.git.checkBranch(ctx, branch); err != nil {
		return "", err
	}
	r.acts.Lock()
	defer r.acts.Unlock()

	s.mu.Lock()
	author, err := r.actor(as, Write)
	before := r.branches[branch]
	from := r.branches[cmp.Or(o.From, r.defaultBranch)]
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	parent, err := r.pushParent(ctx, branch, before, from, o)
	if err != nil {
		return "", err
	}
	ref := "refs/heads/" + branch
	if len(files) == 0 && len(o.Delete) == 0 && message == "" && parent != before {
		if err := s.git.updateRef(ctx, r.dir, ref, parent); err != nil {
			return "", err
		}
		return parent, r.land(ctx, author, pushKind(o), branch, before, parent)
	}
	sha, err := s.git.commit(ctx, r.dir, newCommit{
		ref: ref, parent: parent, author: author, message: cmp.Or(message, "Update "+branch),
		files: files, remove: o.Delete, modes: o.Modes, email: o.Email, when: s.now(),
	})
	if err != nil {
		return "", fmt.Errorf("push to %s: %w", branch, err)
	}
	return sha, r.land(ctx, author, pushKind(o), branch, before, sha)
}

// pushParent finds the commit that a push builds on.
func (r *Repository) pushParent(ctx context.Context, branch, before, from string, o PushOptions) (string, error) {
	switch {
	case (before == "" || o.Force && o.From != "") && from == "":
		return "", fmt.Errorf("push to %s: there is no branch %q to start at", branch, o.From)
	case before == "" || o.Force && o.From != "":
		return from, nil
	case o.Force:
		out, err := r.sandbox.git.run(ctx, gitCall{dir: r.dir, args: []string{"rev-parse", "--verify", before + "^"}})
		return line(out), err
	case o.From != "":
		return "", fmt.Errorf("push to %s: it exists; PushOptions.Force starts it anew", branch)
	default:
		return before, nil
	}
}

// pushKind is how a push is listed, where the branch exists.
func pushKind(o PushOptions) string {
	if o.Force {
		return activityForce
	}
	return activityPush
}

// land makes the move of a branch known, by its kind where the branch was there and stays, tells the App, and has pull requests
// follow. The ref was moved already, and the caller holds acts.
func (r *Repository) land(ctx context.Context, actor *account, kind, branch, before, after string) error {
	s := r.sandbox
	payload, err := r.pushPayload(ctx, actor, "refs/heads/"+branch, before, after)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if after == "" {
		delete(r.branches, branch)
	} else {
		r.branches[branch] = after
	}
	r.pushed = s.now()
	r.noteActivity(actor, kind, branch, before, after)
	s.emit(r, actor, "push", "", payload)
	s.change()
	parent := r.parent
	s.mu.Unlock()

	err = r.follow(ctx, actor, r, branch, after)
	if parent != nil {
		parent.acts.Lock()
		defer parent.acts.Unlock()
		err = errors.Join(err, parent.follow(ctx, actor, r, branch, after))
	}
	return err
}

// pushPayload describes a move of a ref the way GitHub does.
func (r *Repository) pushPayload(ctx context.Context, actor *account, ref, before, after string) (object, error) {
	payload := object{
		"ref": ref, "before": cmp.Or(before, zeroSHA), "after": cmp.Or(after, zeroSHA), "base_ref": nil,
		"created": before == "", "deleted": after == "", "forced": false, "commits": []object{}, "head_commit": nil,
		"compare": r.HTMLURL() + "/compare/" + cmp.Or(before, zeroSHA)[:12] + "..." + cmp.Or(after, zeroSHA)[:12],
		"pusher":  object{"name": actor.login, "email": actor.email()},
	}
	if after == "" {
		return payload, nil
	}
	git := r.sandbox.git
	without := []string{before}
	if before == "" {
		without = slices.Collect(maps.Values(r.Branches()))
	} else {
		descends, err := git.isAncestor(ctx, r.dir, before, after)
		if err != nil {
			return nil, err
		}
		payload["forced"] = !descends
	}
	commits, err := git.log(ctx, r.dir, after, pushedCommits, without...)
	if err != nil {
		return nil, err
	}
	newest, err := git.log(ctx, r.dir, after, 1)
	if err != nil {
		return nil, err
	}
	list := make([]object, 0, len(commits))
	for _, c := range commits {
		list = append(list, r.commitObject(c))
	}
	payload["commits"], payload["head_commit"] = list, r.commitObject(newest[0])
	return payload, nil
}

func (r *Repository) commitObject(c loggedCommit) object {
	by := func(p person) object {
		o := object{"name": p.name, "email": p.email}
		if _, login, ok := strings.Cut(strings.TrimSuffix(p.email, "@users.noreply.github.com"), "+"); ok {
			o["username"] = login
		}
		return o
	}
	list := func(paths []string) []string { return append([]string{}, paths...) }
	return object{
		"id": c.sha, "tree_id": c.tree, "distinct": true, "message": c.message, "timestamp": stamp(c.committer.when),
		"url": r.HTMLURL() + "/commit/" + c.sha, "author": by(c.author), "committer": by(c.committer),
		"added": list(c.added), "modified": list(c.modified), "removed": list(c.removed),
	}
}

// follow brings the open pull requests of r up to date after a branch moved: those from it get the
// new head, those into it a new test merge, or are merged by the push itself. The caller holds acts.
func (r *Repository) follow(ctx context.Context, actor *account, moved *Repository, branch, after string) error {
	s := r.sandbox
	s.mu.Lock()
	var heads, bases []*thread
	for _, t := range r.pulls() {
		switch p := t.pull; {
		case t.closed:
		case p.head.repository == moved && p.head.branch == branch:
			heads = append(heads, t)
		case moved == r && p.base.branch == branch:
			bases = append(bases, t)
		}
	}
	s.mu.Unlock()
	for _, t := range heads {
		if after == "" {
			r.close(actor, t)
			continue
		}
		if err := r.synchronize(ctx, actor, t, after); err != nil {
			return fmt.Errorf("update pull request %d: %w", t.number, err)
		}
	}
	for _, t := range bases {
		if after == "" {
			r.close(actor, t)
			continue
		}
		if err := r.baseMoved(ctx, actor, t, after); err != nil {
			return fmt.Errorf("update pull request %d: %w", t.number, err)
		}
	}
	return nil
}

// synchronize gives a pull request its new head.
func (r *Repository) synchronize(ctx context.Context, actor *account, t *thread, after string) error {
	s := r.sandbox
	s.mu.Lock()
	head, baseTip := t.pull.head, r.branches[t.pull.base.branch]
	s.mu.Unlock()
	before := head.sha
	head.sha = after
	facts, err := r.lookAtPull(ctx, t.number, head, baseTip)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.pull.head, t.pull.base.sha = head, baseTip
	t.setFacts(facts)
	t.updated = s.now()
	s.emit(r, actor, "pull_request", "synchronize", object{
		"number": t.number, "before": before, "after": after, "pull_request": s.pullObject(r, t),
	})
	s.change()
	return nil
}

func (t *thread) setFacts(facts pullFacts) {
	t.pull.facts, t.pull.mergeSHA = facts, facts.testMerge
}

// baseMoved makes a new test merge, or closes the pull request as merged where the push brought its head.
func (r *Repository) baseMoved(ctx context.Context, actor *account, t *thread, after string) error {
	s := r.sandbox
	s.mu.Lock()
	head := t.pull.head
	s.mu.Unlock()
	contained, err := s.git.isAncestor(ctx, r.dir, head.sha, after)
	if err != nil {
		return err
	}
	if contained {
		r.merged(actor, t, after, nil)
		return nil
	}
	facts, err := r.lookAtPull(ctx, t.number, head, after)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.setFacts(facts)
	s.change()
	return nil
}

// merged closes a pull request as merged and tells the App.
func (r *Repository) merged(actor *account, t *thread, mergeSHA string, landed []string) {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	t.closed, t.closedAt, t.updated = true, now, now
	t.pull.merged, t.pull.mergedAt, t.pull.mergedBy, t.pull.mergeSHA, t.pull.landed = true, now, actor, mergeSHA, landed
	s.emit(r, actor, "pull_request", "closed", object{"number": t.number, "pull_request": s.pullObject(r, t)})
	s.change()
}

// close closes a pull request without a merge and tells the App.
func (r *Repository) close(actor *account, t *thread) {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t.closed, t.closedAt, t.updated = true, s.now(), s.now()
	s.emit(r, actor, "pull_request", "closed", object{"number": t.number, "pull_request": s.pullObject(r, t)})
	s.change()
}

// lookAtPull has git say what a pull request is, and moves refs/pull/N/head and refs/pull/N/merge.
func (r *Repository) lookAtPull(ctx context.Context, number int, head side, baseTip string) (pullFacts, error) {
	s := r.sandbox
	prefix := "refs/pull/" + strconv.Itoa(number) + "/"
	if head.repository != r {
		if err := s.git.fetch(ctx, r.dir, head.repository.dir, head.branch, prefix+"head"); err != nil {
			return pullFacts{}, err
		}
	}
	updates := []refUpdate{{prefix + "head", head.sha}}
	var facts pullFacts
	tree, clean, err := s.git.mergeTree(ctx, r.dir, baseTip, head.sha)
	if err != nil {
		return pullFacts{}, err
	}
	if clean {
		web := person{"GitHub", "noreply@github.com", s.now()}
		message := "Merge " + head.sha + " into " + baseTip
		if facts.testMerge, err = s.git.commitTree(ctx, r.dir, tree, message, web, web, baseTip, head.sha); err != nil {
			return pullFacts{}, err
		}
	}
	updates = append(updates, refUpdate{prefix + "merge", facts.testMerge})
	if err := s.git.updateRefs(ctx, r.dir, updates...); err != nil {
		return pullFacts{}, err
	}
	if facts.commits, err = s.git.commitsBetween(ctx, r.dir, baseTip, head.sha); err != nil {
		return pullFacts{}, err
	}
	facts.files, facts.additions, facts.deletions = s.git.diffStat(ctx, r.dir, baseTip, head.sha)
	return facts, nil
}

// PushTag makes a tag at a branch's newest commit and sends push.
func (r *Repository) PushTag(ctx context.Context, as, tag, branch string) error {
	s := r.sandbox
	if err := s.git.checkBranch(ctx, tag); err != nil {
		return err
	}
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	actor, err := r.actor(as, Write)
	sha := r.branches[branch]
	s.mu.Unlock()
	if err == nil && sha == "" {
		err = fmt.Errorf("%s has no branch %q", r.FullName(), branch)
	}
	if err != nil {
		return err
	}
	if err := s.git.updateRef(ctx, r.dir, "refs/tags/"+tag, sha); err != nil {
		return err
	}
	payload, err := r.pushPayload(ctx, actor, "refs/tags/"+tag, "", sha)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(r, actor, "push", "", payload)
	s.change()
	return nil
}

// DeleteBranch deletes a branch, sends push and closes the pull requests from and into it.
func (r *Repository) DeleteBranch(ctx context.Context, as, branch string) error {
	s := r.sandbox
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	actor, err := r.actor(as, Write)
	before := r.branches[branch]
	isDefault := branch == r.defaultBranch
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case before == "":
		return fmt.Errorf("%s has no branch %q", r.FullName(), branch)
	case isDefault:
		return fmt.Errorf("%s is the default branch of %s: GitHub does not delete it", branch, r.FullName())
	}
	if err := s.git.updateRef(ctx, r.dir, "refs/heads/"+branch, ""); err != nil {
		return err
	}
	return r.land(ctx, actor, activityPush, branch, before, "")
}

// Fork makes a person's fork with all branches. The App is not installed on it.
func (r *Repository) Fork(ctx context.Context, as string) (*Repository, error) {
	s := r.sandbox
	s.mu.Lock()
	_, err := r.actor(as, Read)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	fork, err := s.newRepository(as, r.name)
	if err != nil {
		return nil, err
	}
	r.acts.Lock()
	defer r.acts.Unlock()
	if err := s.git.copyRepository(ctx, r.dir, fork.dir); err != nil {
		return nil, err
	}
	s.mu.Lock()
	fork.parent, fork.private, fork.defaultBranch, fork.branches = r, r.private, r.defaultBranch, maps.Clone(r.branches)
	r.forks = append(r.forks, fork)
	s.mu.Unlock()
	return fork, s.adopt(fork)
}

// OpenPull opens a pull request and sends pull_request.opened.
func (r *Repository) OpenPull(ctx context.Context, as string, p Pull) (int, error) {
	s := r.sandbox
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	author, err := r.actor(as, Read)
	base := side{r, cmp.Or(p.To, r.defaultBranch), ""}
	base.sha = r.branches[base.branch]
	head, headErr := r.headOf(p.From)
	if err = errors.Join(err, headErr); err == nil && base.sha == "" {
		err = fmt.Errorf("open pull request: %s has no branch %q", r.FullName(), base.branch)
	}
	for _, t := range r.pulls() {
		if err == nil && !t.closed && t.pull.head.repository == head.repository && t.pull.head.branch == head.branch &&
			t.pull.base.branch == base.branch {
			err = fmt.Errorf("open pull request: #%d has this head and base already", t.number)
		}
	}
	number := r.lastNumber + 1
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return number, r.openPull(ctx, author, number, head, base, p)
}

// headOf finds the head of a pull request: a branch here or, after a colon, of somebody's fork. The caller holds mu.
func (r *Repository) headOf(from string) (side, error) {
	repository, branch := r, from
	if login, name, ok := strings.Cut(from, ":"); ok {
		i := slices.IndexFunc(r.forks, func(f *Repository) bool { return strings.EqualFold(f.owner.login, login) })
		if i < 0 {
			return side{}, fmt.Errorf("open pull request: %s has no fork of %s", login, r.FullName())
		}
		repository, branch = r.forks[i], name
	}
	sha := repository.branches[branch]
	if sha == "" {
		return side{}, fmt.Errorf("open pull request: %s has no branch %q", repository.FullName(), branch)
	}
	return side{repository, branch, sha}, nil
}

func (r *Repository) openPull(ctx context.Context, author *account, number int, head, base side, p Pull) error {
	s := r.sandbox
	facts, err := r.lookAtPull(ctx, number, head, base.sha)
	if err != nil {
		return fmt.Errorf("open pull request: %w", err)
	}
	if len(facts.commits) == 0 {
		return fmt.Errorf("open pull request: no commits between %s and %s", base.branch, head.branch)
	}
	title := p.Title
	if title == "" {
		newest, err := s.git.log(ctx, r.dir, head.sha, 1)
		if err != nil {
			return err
		}
		title, _, _ = strings.Cut(newest[0].message, "\n")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	r.lastNumber = max(r.lastNumber, number)
	t := &thread{
		id: s.nextID(), number: number, title: title, body: p.Body, author: author, created: now, updated: now,
		pull: &pull{id: s.nextID(), head: head, base: base, draft: p.Draft},
	}
	t.setFacts(facts)
	r.threads[number] = t
	s.emit(r, author, "pull_request", "opened", object{"number": number, "pull_request": s.pullObject(r, t)})
	s.change()
	return nil
}

// mine refuses those who neither wrote a thread nor may triage. The caller holds mu.
func (r *Repository) mine(as string, t *thread) (*account, error) {
	if strings.EqualFold(t.author.login, as) {
		return r.actor(as, Read)
	}
	return r.actor(as, Triage)
}

// ClosePull closes a pull request without a merge.
func (r *Repository) ClosePull(_ context.Context, as string, number int) error {
	r.acts.Lock()
	defer r.acts.Unlock()
	r.sandbox.mu.Lock()
	t, err := r.pullNumber(number)
	var actor *account
	if err == nil {
		actor, err = r.mine(as, t)
	}
	if err == nil && t.closed {
		err = fmt.Errorf("pull request %d is closed already", number)
	}
	r.sandbox.mu.Unlock()
	if err == nil {
		r.close(actor, t)
	}
	return err
}

// ReopenPull opens a closed pull request again, with the head that its branch has now.
func (r *Repository) ReopenPull(ctx context.Context, as string, number int) error {
	s := r.sandbox
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	t, err := r.pullNumber(number)
	var actor *account
	if err == nil {
		actor, err = r.mine(as, t)
	}
	var head side
	var baseTip string
	if err == nil {
		head, baseTip = t.pull.head, r.branches[t.pull.base.branch]
		head.sha = head.repository.branches[head.branch]
		if !t.closed || t.pull.merged || head.sha == "" || baseTip == "" {
			err = fmt.Errorf("pull request %d is open or merged, or a branch of it is gone", number)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	facts, err := r.lookAtPull(ctx, number, head, baseTip)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.closed, t.closedAt, t.updated = false, time.Time{}, s.now()
	t.pull.head, t.pull.base.sha = head, baseTip
	t.setFacts(facts)
	s.emit(r, actor, "pull_request", "reopened", object{"number": number, "pull_request": s.pullObject(r, t)})
	s.change()
	return nil
}

// EditBase changes the base branch of an open pull request.
func (r *Repository) EditBase(ctx context.Context, as string, number int, base string) error {
	s := r.sandbox
	r.acts.Lock()
	defer r.acts.Unlock()
	s.mu.Lock()
	t, err := r.pullNumber(number)
	var actor *account
	if err == nil {
		actor, err = r.mine(as, t)
	}
	tip := r.branches[base]
	if err == nil && (t.closed || tip == "") {
		err = fmt.Errorf("pull request %d is closed, or there is no branch %q", number, base)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	facts, err := r.lookAtPull(ctx, number, t.pull.head, tip)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := t.pull.base
	t.pull.base.branch, t.pull.base.sha, t.updated = base, tip, s.now()
	t.setFacts(facts)
	s.emit(r, actor, "pull_request", "edited", object{
		"number": number, "pull_request": s.pullObject(r, t),
		"changes": object{"base": object{"ref": object{"from": old.branch}, "sha": object{"from": old.sha}}},
	})
	s.change()
	return nil
}

// Comment writes a comment on a pull request or issue and sends issue_comment.created.
func (r *Repository) Comment(_ context.Context, as string, number int, body string) (int64, error) {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	author, err := r.actor(as, Read)
	if err != nil {
		return 0, err
	}
	t := r.threads[number]
	if t == nil {
		return 0, fmt.Errorf("%s has no pull request or issue %d", r.FullName(), number)
	}
	if problem := bodyProblem(body); problem != "" {
		return 0, errors.New(problem)
	}
	return s.addComment(r, t, author, body, false).id, nil
}

// addComment is what people and the App do alike. The caller holds mu.
func (s *Sandbox) addComment(r *Repository, t *thread, author *account, body string, viaApp bool) *comment {
	c := &comment{id: s.nextID(), author: author, viaApp: viaApp, body: body, created: s.now(), updated: s.now()}
	t.comments = append(t.comments, c)
	t.updated = c.created
	s.emit(r, author, "issue_comment", "created", object{
		"issue": s.issueObject(r, t), "comment": s.commentObject(r, t, c),
	})
	s.change()
	return c
}

// editComment is what people and the App do alike. The caller holds mu.
func (s *Sandbox) editComment(r *Repository, t *thread, c *comment, actor *account, body string) {
	from := c.body
	c.body, c.updated = body, s.now()
	c.edits++
	s.emit(r, actor, "issue_comment", "edited", object{
		"issue": s.issueObject(r, t), "comment": s.commentObject(r, t, c),
		"changes": object{"body": object{"from": from}},
	})
	s.change()
}

// comment finds a comment. The caller holds mu.
func (r *Repository) comment(id int64) (*thread, *comment) {
	for _, t := range r.threads {
		for _, c := range t.comments {
			if c.id == id {
				return t, c
			}
		}
	}
	return nil, nil
}

// EditComment changes a comment and sends issue_comment.edited.
func (r *Repository) EditComment(_ context.Context, as string, id int64, body string) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t, c := r.comment(id)
	if c == nil {
		return fmt.Errorf("%s has no comment %d", r.FullName(), id)
	}
	needs := Write
	if strings.EqualFold(c.author.login, as) {
		needs = Read
	}
	actor, err := r.actor(as, needs)
	if err != nil {
		return err
	}
	if problem := bodyProblem(body); problem != "" {
		return errors.New(problem)
	}
	s.editComment(r, t, c, actor, body)
	return nil
}

// OpenIssue opens an issue.
func (r *Repository) OpenIssue(_ context.Context, as, title, body string) (int, error) {
	s := r.sandbox
	r.acts.Lock() // numbers are shared with pull requests
	defer r.acts.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	author, err := r.actor(as, Read)
	if err != nil {
		return 0, err
	}
	if r.noIssues {
		return 0, errors.New("issues are switched off in this repository")
	}
	return s.addIssue(r, author, title, body, false).number, nil
}

// addIssue is what people and the App do alike. The caller holds acts and mu.
func (s *Sandbox) addIssue(r *Repository, author *account, title, body string, viaApp bool) *thread {
	r.lastNumber++
	t := &thread{
		id: s.nextID(), number: r.lastNumber, title: title, body: body, author: author, viaApp: viaApp,
		created: s.now(), updated: s.now(),
	}
	r.threads[t.number] = t
	s.change()
	return t
}

// checkRun finds a check run. The caller holds mu.
func (r *Repository) checkRun(id int64) *check {
	i := slices.IndexFunc(r.checks, func(c *check) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return r.checks[i]
}

// RerequestCheck presses "Re-run" on a completed check.
func (r *Repository) RerequestCheck(_ context.Context, as string, checkID int64) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	actor, err := r.actor(as, Write)
	if err != nil {
		return err
	}
	c := r.checkRun(checkID)
	if c == nil || c.Status != "completed" {
		return fmt.Errorf("%s has no completed check %d", r.FullName(), checkID)
	}
	s.emit(r, actor, "check_run", "rerequested", object{"check_run": s.checkEventObject(r, c)})
	s.change()
	return nil
}

// ClickCheckAction presses a button of a check.
func (r *Repository) ClickCheckAction(_ context.Context, as string, checkID int64, identifier string) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	actor, err := r.actor(as, Write)
	if err != nil {
		return err
	}
	c := r.checkRun(checkID)
	if c == nil || !slices.ContainsFunc(c.Actions, func(a CheckAction) bool { return a.Identifier == identifier }) {
		return fmt.Errorf("%s has no check %d with a button %q", r.FullName(), checkID, identifier)
	}
	s.emit(r, actor, "check_run", "requested_action", object{
		"check_run": s.checkEventObject(r, c), "requested_action": object{"identifier": identifier},
	})
	s.change()
	return nil
}
