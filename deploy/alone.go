package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// Without an App there is no server that remembers: each event is a job of a workflow with a database of its own. What the next job
// needs is kept at GitHub.

// Alone is what a job of a workflow does in its own way.
type Alone struct {
	RunURL  string   // page of the run that the job belongs to
	Without []string // commands that do not work
	// Application is the name that stands for the application where the configuration gives none; empty: the repository's.
	Application string
	// Instead carries a command out, or reports false where that is done as everywhere.
	Instead func(ctx context.Context, asked Asked) (answer string, done bool, err error)
	// Keep gives a check what a later job needs, and says in it what does not hold without the App. data is nil where there is nothing.
	Keep func(c hub.Check, data []byte) (hub.Check, error)
	// Kept finds what Keep gave to the check of an environment's plan on a commit, by the names of the checks.
	Kept func(ctx context.Context, repo operation.Repository, head string) (map[string][]byte, error)
}

// without are the commands that do not work here.
func (d *Deploy) without() []string {
	if d.Alone == nil {
		return nil
	}
	return d.Alone.Without
}

// application stands for the application of a repository whose configuration names none.
func (d *Deploy) application(repo operation.Repository) string {
	if d.Alone == nil {
		return repo.Name
	}
	return cmp.Or(d.Alone.Application, repo.Name)
}

// Asked is a command that its author may give.
type Asked struct {
	Repository operation.Repository
	Command    commands.Command
	Do         string // what it asks for
	Author     string
	Comment    int64
	Number     int    // of the issue or pull request
	Base       string // branch that the pull request goes to; empty on an issue
	Config     repoconfig.Config
}

// instead carries a command out as a job alone does.
func (d *Deploy) instead(ctx context.Context, r request, do string) (string, bool, error) {
	if d.Alone == nil {
		return "", false, nil
	}
	return d.Alone.Instead(ctx, Asked{
		Repository: r.Repository, Command: r.Command, Do: do, Author: r.Author, Comment: r.Comment, Number: r.Number,
		Base: r.Pull.BaseRef, Config: r.Config.Config,
	})
}

// keptVersion is the version of what is kept. A job knows no other.
const keptVersion = 1

// kept is what a plan leaves for the job that applies its pull request.
type kept struct {
	Version int                 `json:"version"`
	Pull    pullFacts           `json:"pull"`
	Plan    operation.Operation `json:"plan"`
}

// keep adds to a check what the next job needs of the operation that it shows.
func (d *Deploy) keep(ctx context.Context, repo operation.Repository, c hub.Check) (hub.Check, error) {
	if d.Alone == nil {
		return c, nil
	}
	data, err := d.toKeep(ctx, repo, c)
	if err != nil {
		return c, err
	}
	c, err = d.Alone.Keep(c, data)
	return c, wrap("keep the plan in its check", err)
}

func (d *Deploy) toKeep(ctx context.Context, repo operation.Repository, c hub.Check) ([]byte, error) {
	id, err := strconv.ParseInt(c.ExternalID, 10, 64)
	if err != nil || c.Status != hub.CheckCompleted || c.Conclusion != "success" {
		return nil, nil //nolint:nilerr // it shows no operation
	}
	op, err := d.Store.Operation(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read what a check shows: %w", err)
	}
	if op.Kind != operation.Plan || op.Pull == 0 || op.Result == nil || op.Head != c.HeadSHA || c.Name != planCheckName(op.Environment) {
		return nil, nil
	}
	facts, ok, err := d.pullFacts(ctx, repo, op.Pull)
	if err != nil || !ok {
		return nil, err
	}
	data, err := json.Marshal(kept{Version: keptVersion, Pull: facts, Plan: op}) //nolint:musttag // see pullFacts
	return data, wrap("write what is kept", err)
}

// recall takes up what the job that planned a pull request kept of it: for whoever applies it, that was reviewed.
func (d *Deploy) recall(ctx context.Context, repo operation.Repository, pull hub.Pull, facts *pullFacts) error {
	if d.Alone == nil {
		return nil
	}
	found, err := d.Alone.Kept(ctx, repo, pull.HeadSHA)
	if err != nil {
		return fmt.Errorf("look for the plan of #%d: %w", pull.Number, err)
	}
	for name, data := range found {
		var old kept
		if err := json.Unmarshal(data, &old); err != nil { //nolint:musttag // see pullFacts
			zerolog.Ctx(ctx).Warn().Err(err).Str("check", name).Msg("what a check keeps cannot be read")
			continue
		}
		if why := old.unfit(repo, pull, name); why != nil {
			zerolog.Ctx(ctx).Warn().Err(why).Str("check", name).Msg("what a check keeps is not taken")
			continue
		}
		if err := d.remember(ctx, repo, old.Plan); err != nil {
			return err
		}
		comments := facts.Comments
		*facts = old.Pull
		facts.Comments = comments
	}
	return nil
}

// unfit says why something kept is not of this pull request.
func (k kept) unfit(repo operation.Repository, pull hub.Pull, check string) error {
	plan := k.Plan
	switch {
	case k.Version != keptVersion, plan.Result != nil && plan.Result.Version != operation.ContractVersion:
		return errors.New("it is of another version")
	case plan.Kind != operation.Plan, plan.Result == nil, plan.State != operation.Succeeded:
		return errors.New("it is no plan that succeeded")
	case plan.Repository.ID != repo.ID, plan.Pull != pull.Number, k.Pull.Number != pull.Number, plan.Head != pull.HeadSHA,
		check != planCheckName(plan.Environment):
		return errors.New("it is of something else")
	}
	return nil
}

// remember stores a plan that another job made.
func (d *Deploy) remember(ctx context.Context, repo operation.Repository, plan operation.Operation) error {
	result := *plan.Result
	plan.Repository, plan.Result, plan.ID, plan.Attempt, plan.Host, plan.Launch = repo, nil, 0, 0, "", ""
	stored, err := d.Store.CreateOperation(ctx, plan)
	if err != nil {
		return fmt.Errorf("store the plan of #%d: %w", plan.Pull, err)
	}
	if stored, _, err = d.Store.Start(ctx, stored.ID); err != nil {
		return fmt.Errorf("store the plan of #%d: %w", plan.Pull, err)
	}
	result.Operation, result.Attempt, result.Launch = stored.ID, stored.Attempt, ""
	_, err = d.Store.Finish(ctx, store.Finish{Operation: stored.ID, Attempt: stored.Attempt, State: operation.Succeeded, Result: &result})
	return wrap(fmt.Sprintf("store the plan of #%d", plan.Pull), err)
}

// reviewableFrom is when a plan was there to be reviewed.
func (d *Deploy) reviewableFrom(plan operation.Operation) time.Time {
	if d.Alone != nil && plan.Launch == "" { // another job made it: our own time is that of the recall
		return plan.Result.Ended
	}
	return plan.Ended
}

// SayYes takes a person's yes to what an apply asks about, by the digest that they name. It reports whether the apply goes on, and says
// why where it does not. comment is where they said so; 0 is elsewhere.
func (d *Deploy) SayYes(ctx context.Context, asked operation.Operation, digest, by string, comment int64) (bool, string, error) {
	config, err := d.known(ctx, asked.Repository)
	if err != nil {
		return false, "", err
	}
	r := request{
		CommentMade: CommentMade{Repository: asked.Repository, Number: asked.Pull, IsPull: asked.Pull != 0, Comment: comment, Author: by},
		Command:     commands.Command{Name: "apply", Environment: asked.Environment, Digest: strings.ToLower(digest)},
		Config:      config,
	}
	text, err := d.confirm(ctx, r, asked, render.ApplyAnswerView{
		Environment: asked.Environment, Base: asked.Branch, Target: asked.Environment, Branch: asked.Branch, Digest: r.Command.Digest,
	})
	if err != nil {
		return false, "", err
	}
	now, err := d.Store.Operation(ctx, asked.ID)
	return now.State == operation.Queued, text, wrap("read "+asked.String(), err)
}
