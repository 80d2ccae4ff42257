package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
)

// pushLost shows, on the commit that was pushed, that nobody has decided what to apply of it: without a word, a merge
// would look as if nothing had to be applied.
func (d *Deploy) pushLost(ctx context.Context, job queue.Job, reason string) error {
	var push BranchPushed
	if err := json.Unmarshal(job.Payload, &push); err != nil {
		return fmt.Errorf("read the push: %w", err)
	}
	commit, err := d.pushedCommit(ctx, job.Cause, push)
	if err != nil || commit == "" {
		return err
	}
	environment, err := d.deploysTo(ctx, push)
	if err != nil || environment == "" {
		return err
	}
	tip, _, err := d.Store.BranchTip(ctx, push.Repository.ID, push.Branch)
	if err != nil || tip == commit {
		return wrap("read the last tip", err) // an earlier job has decided about it
	}
	if tip == "" { // so that the branch counts as known, and is looked for
		if err := d.Store.SetBranchTip(ctx, push.Repository.ID, push.Branch, cmp.Or(push.Before, zeroCommit)); err != nil {
			return fmt.Errorf("save the last tip: %w", err)
		}
	}
	name := applyCheckName(environment)
	if _, shown, err := d.Store.Surface(ctx, push.Repository.ID, checkKey(commit, name)); err != nil || shown {
		return wrap("find the check of the push", err) // an apply of this commit tells how it goes
	}
	op := operation.Operation{
		Kind: operation.Apply, Repository: push.Repository, Environment: environment, Branch: push.Branch, Head: commit,
		State: operation.Failed, Message: "Nothing was applied, because the push of this commit to " + push.Branch +
			" could not be looked at, although that was tried several times: " + plainError(errors.New(reason)) +
			". It is looked for again within the hour.",
	}
	failed := check(name, commit, render.ApplyCheck(render.ApplyView{
		Operation: op, Commit: commit, Repository: push.Repository, WebURL: d.WebURL, Now: d.Clock.Now(),
		ResultURL: fmt.Sprintf("%s/%s/commit/%s/checks", d.WebURL, push.Repository.FullName(), commit),
	}))
	failed.Status, failed.Conclusion = checkState(op)
	return d.wantCheck(ctx, push.Repository, failed, time.Time{})
}

// commitName matches the full name of a commit that is not the name of none.
// https://git-scm.com/docs/hash-function-transition
var commitName = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// pushedCommit is the commit that a push was about: as its webhook told it, or what the mirror has. Empty where the branch
// was deleted, or neither tells.
func (d *Deploy) pushedCommit(ctx context.Context, delivery string, push BranchPushed) (string, error) {
	payload, ok, err := d.Store.Delivered(ctx, delivery)
	if err != nil {
		return "", fmt.Errorf("read the delivery of the push: %w", err)
	}
	var event struct {
		Ref   string `json:"ref"`
		After string `json:"after"`
	}
	if ok && json.Unmarshal(payload, &event) == nil && event.Ref == "refs/heads/"+push.Branch && commitName.MatchString(event.After) {
		if event.After == zeroCommit {
			return "", nil
		}
		return event.After, nil
	}
	tip, _, err := d.Git.Branch(ctx, push.Repository, push.Branch)
	return tip, wrap("find the branch", err)
}

// deploysTo is the environment of a branch by the configuration that the mirror has; empty for none.
func (d *Deploy) deploysTo(ctx context.Context, push BranchPushed) (string, error) {
	config, err := d.known(ctx, push.Repository)
	if err != nil || config.Problem != "" || config.Default {
		return "", err // nothing is applied; pull requests show why
	}
	environment, ok := config.EnvironmentOf(push.Branch)
	if !ok {
		return "", nil
	}
	return environment.Name, nil
}
