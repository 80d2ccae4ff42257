package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// GitHub answers a job's questions, with the job's own token. *hub.Hub does.
type GitHub interface {
	Repository(ctx context.Context, repo operation.Repository) (hub.Info, error)
	LetBegin(ctx context.Context, repo operation.Repository, run int64, environment string) ([]string, error)
	Environment(ctx context.Context, repo operation.Repository, name string) (hub.Environment, bool, error)
	IdentityToken(ctx context.Context, address, secret, audience string) (string, error)
	RevokeToken(ctx context.Context, token string) error
	People
	Runs
}

// Runs is what GitHub knows about the runs of workflows, and what they have deployed.
type Runs interface {
	Deployed(ctx context.Context, repo operation.Repository, environment string, each func(hub.Deployed) (bool, error)) error
	DeployedBy(
		ctx context.Context, repo operation.Repository, environment, workflow, branch string, each func(hub.Deployed) (bool, error),
	) error
	Run(ctx context.Context, repo operation.Repository, id int64) (hub.Run, error)
	Artifacts(ctx context.Context, repo operation.Repository, run int64) ([]hub.Artifact, error)
	FirstSucceeded(ctx context.Context, repo operation.Repository, id int64) (bool, error)
	RunsAround(ctx context.Context, repo operation.Repository, workflow string, run hub.Run, before, after time.Duration) ([]hub.Run, error)
}

// People is what GitHub knows about who wrote, pushed, reviewed and said something.
type People interface {
	Pull(ctx context.Context, repo operation.Repository, number int) (hub.Pull, error)
	PullsOfCommit(ctx context.Context, repo operation.Repository, sha string) ([]hub.Pull, error)
	PullAuthors(ctx context.Context, repo operation.Repository, number int) (hub.Authors, error)
	Reviews(ctx context.Context, repo operation.Repository, number int) ([]hub.Review, bool, error)
	Permission(ctx context.Context, repo operation.Repository, login string) (string, error)
	Comment(ctx context.Context, repo operation.Repository, id int64) (hub.Written, error)
	Retouched(ctx context.Context, repo operation.Repository, node string) (bool, error)
	Activities(ctx context.Context, repo operation.Repository, branch string, each func(hub.Activity) bool) error
}

// History is the repository as git has it. *git.Mirrors does.
type History interface {
	Branch(ctx context.Context, repo operation.Repository, name string) (string, bool, error)
	Branches(ctx context.Context, repo operation.Repository, match func(name string) bool) (map[string]string, error)
	PullHead(ctx context.Context, repo operation.Repository, number int) (string, bool, error)
	IsAncestor(ctx context.Context, repo operation.Repository, a, b string) (bool, error)
	FirstParents(ctx context.Context, repo operation.Repository, from, to string, limit int) ([]string, error)
	Contents
}

// Contents is what is in the repository's commits.
type Contents interface {
	ReadFile(ctx context.Context, repo operation.Repository, commitOrTree, name string) ([]byte, bool, error)
	Files(ctx context.Context, repo operation.Repository, tree, dir string) ([]string, error)
	Commit(ctx context.Context, repo operation.Repository, sha string) (git.Commit, error)
	ChangedFiles(ctx context.Context, repo operation.Repository, from, to string) ([]string, error)
}

// Bounds on what an apply is looked through for.
const (
	maxCommits = 100 // on the first-parent line since the last apply
	maxPulls   = 50
	maxWords   = 50

	// Where somebody said yes to something in more than that, for who wrote it: one call for each commit and each pull request.
	maxNamedCommits = 300
	maxNamedPulls   = 100
)

// mergeQueue is where GitHub keeps the branches of merge groups.
// https://docs.github.com/en/repositories, "Managing a merge queue"
const mergeQueue = "gh-readonly-queue/"

// What GitHub says of a run that was dispatched, and of one that ended well.
const (
	dispatchEvent = "workflow_dispatch"
	succeededRun  = "success"
)

// gatherer finds facts out. Permissions are asked for once per person.
type gatherer struct {
	github GitHub
	git    History
	repo   operation.Repository
	now    time.Time
	ranks  map[string]string
	dirs   map[string][]string // of each root, with those of its modules; by the root's own
}

// gather finds out what can be known about a task.
func (g *gatherer) gather(ctx context.Context, machine Machine, run hub.Run, task operation.Task, defaultBranch string) (facts, error) {
	f := facts{machine: machine, run: run}
	var err error
	if f.identity, f.identified, err = g.identity(ctx, machine.Identity); err != nil {
		return f, err
	}
	if f.config, err = g.configuration(ctx, defaultBranch); err != nil {
		return f, err
	}
	if f.words, err = g.words(ctx, task); err != nil {
		return f, err
	}
	if task.Job.Environment != "" {
		if f.protection, _, err = g.github.Environment(ctx, g.repo, task.Job.Environment); err != nil {
			return f, fmt.Errorf("look at the job's GitHub Environment: %w", err)
		}
	}
	if task.Kind == operation.Plan {
		f.plan, err = g.plan(ctx, task)
		return f, err
	}
	if task.Kind == operation.ExplainLock {
		err = g.lock(ctx, task, &f)
		return f, err
	}
	if task.Kind == operation.BreakLease {
		err = g.lock(ctx, task, &f)
		return f, err
	}
	f.apply, err = g.apply(ctx, task, f.config)
	return f, err
}

// audience is whom the job's identity is for when it is only looked at here: nobody.
const audience = "switchyard:self"

// identity asks GitHub which job this is. The token comes from GitHub itself, so its signature tells nothing new.
func (g *gatherer) identity(ctx context.Context, from Identity) (said claims, identified bool, err error) {
	if from.Address == "" || from.Secret == "" {
		return claims{}, false, nil
	}
	token, err := g.github.IdentityToken(ctx, from.Address, from.Secret, audience)
	if err != nil {
		return claims{}, false, err //nolint:wrapcheck // says what was asked
	}
	var all struct {
		jwt.RegisteredClaims
		claims
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &all); err != nil {
		return claims{}, false, fmt.Errorf("read the job's identity: %w", err)
	}
	return all.claims, true, nil
}

// configuration reads the configuration of the default branch.
func (g *gatherer) configuration(ctx context.Context, branch string) (repoconfig.Config, error) {
	tip, ok, err := g.git.Branch(ctx, g.repo, branch)
	if err != nil || !ok {
		return repoconfig.Config{}, fmt.Errorf("find the default branch %q: %w", branch, errors.Join(err, missing(ok)))
	}
	data, ok, err := g.git.ReadFile(ctx, g.repo, tip, repoconfig.Path)
	if err != nil {
		return repoconfig.Config{}, fmt.Errorf("read %s: %w", repoconfig.Path, err)
	}
	if !ok {
		return repoconfig.Default(), nil
	}
	config, err := repoconfig.Parse(data)
	if err != nil {
		return repoconfig.Config{}, fmt.Errorf("%s of %s cannot be used: %w", repoconfig.Path, branch, err)
	}
	return config, nil
}

func missing(there bool) error {
	if there {
		return nil
	}
	return errors.New("the repository has no such branch")
}

// plan finds out whose code a plan runs.
func (g *gatherer) plan(ctx context.Context, task operation.Task) (f planFacts, err error) {
	tip, there, err := g.git.Branch(ctx, g.repo, task.Job.Branch)
	if err != nil {
		return f, fmt.Errorf("find branch %q: %w", task.Job.Branch, err)
	}
	f.based = task.Job.Base == ""
	if there && !f.based {
		if f.based, err = g.git.IsAncestor(ctx, g.repo, task.Job.Base, tip); err != nil {
			return f, fmt.Errorf("look for commit %s: %w", short(task.Job.Base), err)
		}
	}
	if task.Job.Pull == 0 {
		groups, err := g.git.Branches(ctx, g.repo, func(name string) bool {
			return strings.HasPrefix(name, mergeQueue+task.Job.Branch+"/")
		})
		f.headed = slices.Contains(slices.Collect(maps.Values(groups)), task.Commit)
		return f, wrap("find the merge groups", err)
	}
	pull, err := g.github.Pull(ctx, g.repo, task.Job.Pull)
	if err != nil {
		return f, fmt.Errorf("ask for #%d: %w", task.Job.Pull, err)
	}
	f.fork = pull.Fork
	head, there, err := g.git.PullHead(ctx, g.repo, task.Job.Pull)
	if err != nil || !there {
		return f, wrap("find the head of the pull request", err)
	}
	f.headed, err = g.git.IsAncestor(ctx, g.repo, task.Commit, head)
	return f, wrap("look for the commit of the plan", err)
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// apply finds out what an apply brings.
func (g *gatherer) apply(ctx context.Context, task operation.Task, config repoconfig.Config) (f applyFacts, err error) {
	environment, _ := config.Environment(task.Environment)
	if f.tip, f.contains, err = g.onBranch(ctx, task); err != nil || !f.contains {
		return f, err // refused: whose commit it is does not matter
	}
	if f.last, f.lastAt, err = g.last(ctx, environment, config.Actions.Workflow); err != nil {
		return f, err
	}
	f.descends = f.last == ""
	if f.last != "" {
		if f.descends, err = g.git.IsAncestor(ctx, g.repo, f.last, task.Commit); err != nil {
			return f, fmt.Errorf("compare with what was applied before: %w", err)
		}
	}
	if environment.Approvals == 0 && !holds(task) {
		return f, nil
	}
	err = g.approvals(ctx, task, &f, config, environment.Approvals)
	if err != nil || task.Confirmed == "" || environment.Approvals == 0 || !f.unreviewed(environment) {
		return f, err
	}
	f.pushers, err = g.pushers(ctx, task, f.last)
	return f, err
}

// last is the commit that the newest job has applied, and when its run was made. What other workflows deploy does not count, nor
// does what a run has deployed that is not there any more: whoever may delete runs could make any workflow's one count. A job that broke
// a lock has deployed nothing. Where no branch of the environment is a pattern, the runs on it are looked for, so that it does not matter
// how often others deploy; GitHub finds none by a pattern, and then all deployments are looked through.
func (g *gatherer) last(ctx context.Context, environment repoconfig.Environment, workflow string) (sha string, at time.Time, err error) {
	look := func(d hub.Deployed) (bool, error) {
		run, err := g.github.Run(ctx, g.repo, d.Run)
		succeeded := run.Conclusion == succeededRun
		if err == nil && run.Attempt > 1 { // attempts that people start by hand are refused
			succeeded, err = g.github.FirstSucceeded(ctx, g.repo, d.Run)
		}
		if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
			return true, nil
		}
		if err != nil {
			return false, err //nolint:wrapcheck // says what was asked
		}
		if !isOf(run.Path, workflow) || run.Event != dispatchEvent || run.SHA != d.SHA || !succeeded ||
			!environment.Takes(run.Branch) || operation.IsRunOf(run.Name, operation.BreakLease) {
			return true, nil
		}
		if sha == "" || run.Created.After(at) {
			sha, at = d.SHA, run.Created
		}
		return false, nil
	}
	if strings.Contains(strings.Join(environment.Branches, ""), "*") {
		err = g.github.Deployed(ctx, g.repo, environment.Name, look)
	} else {
		for _, branch := range environment.Branches {
			err = errors.Join(err, g.github.DeployedBy(ctx, g.repo, environment.Name, workflow, branch, look))
		}
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("ask what was applied to %s before: %w", environment.Name, err)
	}
	return sha, at, nil
}

// isOf reports whether GitHub's path of a run's workflow is that of a file.
func isOf(path, workflow string) bool {
	file, _, _ := strings.Cut(path, "@") // the ref may follow
	return file == ".github/workflows/"+workflow
}

// words reads the comments in which people are said to have said yes.
func (g *gatherer) words(ctx context.Context, task operation.Task) ([]word, error) {
	if len(task.Job.Words) > maxWords {
		return nil, fmt.Errorf("the task names %d comments; at most %d are read", len(task.Job.Words), maxWords)
	}
	var words []word
	for _, claimed := range task.Job.Words {
		w, err := g.word(ctx, claimed)
		if err != nil {
			return nil, err
		}
		words = append(words, w)
	}
	return words, nil
}

// word reads one of them.
func (g *gatherer) word(ctx context.Context, claimed operation.Word) (word, error) {
	w := word{Word: claimed}
	written, err := g.github.Comment(ctx, g.repo, claimed.Comment)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		return w, nil
	}
	if err != nil {
		return w, fmt.Errorf("read a comment: %w", err)
	}
	w.found, w.number, w.author, w.made, w.bot, w.edited = true, written.Number, written.Author, written.Made, written.Bot, written.Edited
	command, is, err := commands.Parse(written.Body)
	w.command, w.readable = command, is && err == nil
	if w.readable && !w.bot && !w.edited {
		if w.edited, err = g.github.Retouched(ctx, g.repo, written.Node); err != nil {
			return w, fmt.Errorf("ask whether a comment was edited: %w", err)
		}
		if w.permission, err = g.permission(ctx, w.author); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (g *gatherer) permission(ctx context.Context, login string) (string, error) {
	if rank, known := g.ranks[login]; known {
		return rank, nil
	}
	rank, err := g.github.Permission(ctx, g.repo, login)
	if err != nil {
		return "", fmt.Errorf("ask for the permission of %s: %w", quote(login), err)
	}
	if g.ranks == nil {
		g.ranks = map[string]string{}
	}
	g.ranks[login] = rank
	return rank, nil
}

// approvals finds out which pull requests an apply brings, who wrote them and who approved those that Terraform sees something of.
func (g *gatherer) approvals(ctx context.Context, task operation.Task, f *applyFacts, config repoconfig.Config, needed int) error {
	most, _ := named(task)
	commits, err := g.brought(ctx, task, f.last, most+1)
	if err != nil {
		return fmt.Errorf("list what is brought: %w", err)
	}
	f.cut, f.hidden = len(commits) > maxCommits, len(commits) > most
	if f.hidden {
		return nil
	}
	straight, err := g.straight(ctx, f.last, commits)
	if err != nil {
		return err
	}
	look := func(commit string) (bool, error) {
		if !straight {
			return true, nil
		}
		return g.touches(ctx, task, config, commit)
	}
	pulls, matters, err := g.pullsOf(ctx, task, f, commits, look)
	if err != nil || f.hidden {
		return err
	}
	for _, one := range pulls {
		people := 0
		if matters[one.Number] && !f.cut {
			people = needed
		}
		known, err := g.pull(ctx, config, one, people, claimedFor(task, one.Number))
		if err != nil {
			return err
		}
		f.pulls = append(f.pulls, known)
	}
	return nil
}

// named is in how many commits and pull requests it is looked for who wrote them: in more where somebody is said to have said yes to
// something, because an author's yes is none.
func named(task operation.Task) (commits, pulls int) {
	if task.Confirmed != "" || holds(task) {
		return maxNamedCommits, maxNamedPulls
	}
	return maxCommits, maxPulls
}

// holds reports whether changes that configuration holds back are said to be approved.
func holds(task operation.Task) bool {
	return slices.ContainsFunc(task.Targets, func(t operation.TargetTask) bool { return len(t.Approved) > 0 })
}

// pullsOf lists the pull requests of commits, and of which of them Terraform sees something, as look says of a commit. It notes
// the commits without one, and that there are too many.
func (g *gatherer) pullsOf(
	ctx context.Context, task operation.Task, f *applyFacts, commits []string, look func(commit string) (seen bool, err error),
) (pulls []hub.Pull, matters map[int]bool, err error) {
	_, most := named(task)
	matters = map[int]bool{}
	for _, commit := range commits {
		seen, err := look(commit)
		if err != nil {
			return nil, nil, err
		}
		of, err := g.github.PullsOfCommit(ctx, g.repo, commit)
		if err != nil {
			return nil, nil, fmt.Errorf("ask for the pull requests of %s: %w", short(commit), err)
		}
		of = slices.DeleteFunc(of, func(p hub.Pull) bool { return p.State != hub.Merged || p.BaseRef != task.Job.Branch })
		if len(of) == 0 && seen {
			f.loose = append(f.loose, commit)
		}
		for _, one := range of {
			if _, known := matters[one.Number]; !known {
				pulls = append(pulls, one)
			}
			matters[one.Number] = matters[one.Number] || seen
			f.cut, f.hidden = f.cut || len(pulls) > maxPulls, len(pulls) > most
			if f.hidden {
				return nil, nil, nil
			}
		}
	}
	return pulls, matters, nil
}

// brought lists the commits of the first-parent line since the last apply. Where GitHub knows of none, it is the commit alone, with
// those since the commits that the server says were applied: deployments can be deleted, and more than it has to prove no claim
// makes of it.
func (g *gatherer) brought(ctx context.Context, task operation.Task, last string, limit int) ([]string, error) {
	commits, err := g.git.FirstParents(ctx, g.repo, last, task.Commit, limit)
	if err != nil || last != "" {
		return commits, err //nolint:wrapcheck // the caller says what was listed
	}
	for _, root := range slices.Sorted(maps.Keys(task.Job.Before)) {
		before := task.Job.Before[root]
		if before == "" || before == task.Commit {
			continue
		}
		more, err := g.git.FirstParents(ctx, g.repo, before, task.Commit, limit)
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller says what was listed
		}
		for _, commit := range more {
			if !slices.Contains(commits, commit) {
				commits = append(commits, commit)
			}
		}
	}
	return commits, nil
}

// claimedFor is whose approvals the server says count for a pull request, be they of its last commit or of one with the same changes.
func claimedFor(task operation.Task, number int) []string {
	var claimed []string
	for _, review := range task.Job.Reviews {
		if review.Pull == number {
			claimed = append(claimed, review.Approved...)
		}
	}
	return claimed
}

// pull finds out who wrote a pull request, and whether enough people approved it. Whether an approval of an earlier commit was of the
// same changes only the server knows; that it was given, by whom, and not taken back is seen here.
func (g *gatherer) pull(ctx context.Context, config repoconfig.Config, one hub.Pull, needed int, claimed []string) (pull, error) {
	authors, err := g.github.PullAuthors(ctx, g.repo, one.Number)
	if err != nil {
		return pull{}, fmt.Errorf("ask who wrote #%d: %w", one.Number, err)
	}
	authors.Noname = config.People(authors.Noname)
	p := pull{number: one.Number, authors: append(authors.Logins, one.Author), everyone: authors.More || len(authors.Noname) > 0}
	if needed == 0 {
		p.approval = gitflow.DecideApproval(gitflow.Reviews{})
		return p, nil
	}
	reviews, more, err := g.github.Reviews(ctx, g.repo, one.Number)
	if err != nil {
		return pull{}, fmt.Errorf("ask who reviewed #%d: %w", one.Number, err)
	}
	known := gitflow.Reviews{
		Needed: needed, Head: one.HeadSHA, Authors: p.authors, AuthorsCut: authors.More, ReviewsCut: more, AuthorsNoname: authors.Noname,
		Proven: true,
	}
	for _, review := range reviews {
		said := gitflow.Review{
			Login: review.Login, Bot: review.Type != "User", State: review.State, Commit: review.Commit, Submitted: review.Submitted,
		}
		if review.State == gitflow.ReviewApproved && review.Login != "" {
			if said.Permission, err = g.permission(ctx, review.Login); err != nil {
				return pull{}, err
			}
			if review.Commit != "" && slices.Contains(claimed, review.Login) {
				said.Commit = one.HeadSHA
			}
		}
		known.Reviews = append(known.Reviews, said)
	}
	p.approval = gitflow.DecideApproval(known)
	return p, nil
}
