package deploy

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// What jobs of workflows may ask the server while they run. Each proves with a token of GitHub which job it is.

// Identities verifies the tokens by which jobs say who they are. *hub.Identities does.
type Identities interface {
	// Verify gives hub.ErrNoIdentity for a token that is not right.
	Verify(ctx context.Context, token string) (operation.JobIdentity, error)
}

// JobAsked names the attempt at an operation that a job says it carries out.
type JobAsked struct {
	Operation int64  `json:"operation"`
	Attempt   int    `json:"attempt"`
	Launch    string `json:"launch"`
}

// Denied is why a job does not get what it asks for.
type Denied struct {
	Kind   Denial
	Reason string // a sentence for people; nothing that only the server knows where Kind is another than NotNow
}

// Denial is the kind of a Denied.
type Denial string

// The kinds of denial.
const (
	NoIdentity Denial = "no identity" // the token says nothing
	NotYours   Denial = "not yours"   // the job is another one than was dispatched
	NotKnown   Denial = "not known"   // there is no such attempt in the job's repository
	NotNow     Denial = "not now"     // it may not (any more)
)

func (d *Denied) Error() string { return d.Reason }

// ConfirmApply says to a job that is about to apply, or to break a lock, whether its attempt may: it runs, has the hold, and nobody has
// asked to stop it.
// The error is *Denied where it may not.
func (d *Deploy) ConfirmApply(ctx context.Context, token string, asked JobAsked) error {
	op, run, err := d.asker(ctx, token, asked)
	if err != nil {
		return err
	}
	if !op.Kind.Exclusive() {
		return &Denied{Kind: NotNow, Reason: fmt.Sprintf("%s changes nothing.", op)}
	}
	holder, held, err := d.Store.Holder(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return fmt.Errorf("find who has the hold: %w", err)
	}
	if !held || holder.ID != op.ID {
		return &Denied{Kind: NotNow, Reason: fmt.Sprintf("%s does not have the hold of %s.", op, op.Environment)}
	}
	stopping, err := d.Store.ToStop(ctx, operation.HostActions)
	if err != nil {
		return fmt.Errorf("find what has to be stopped: %w", err)
	}
	if slices.Contains(stopping, op.ID) || d.stopping(op.ID) {
		return &Denied{Kind: NotNow, Reason: fmt.Sprintf("%s was cancelled.", op)}
	}
	return wrap("record that it may begin", d.Store.Append(ctx, store.Audit{
		Repository: op.Repository.ID, Environment: op.Environment, Operation: op.ID, Who: "switchyard", What: string(op.Kind) + " confirmed",
		Why: fmt.Sprintf("run %d asked whether it may go on", run.Run),
	}))
}

// stopping reports whether this process has told the runner of an operation to stop.
func (d *Deploy) stopping(id int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.running[id]
	return ok && w.stop
}

// asker finds the operation whose job asks, and makes sure that it is carried out by this very job now.
func (d *Deploy) asker(ctx context.Context, token string, asked JobAsked) (operation.Operation, operation.WorkflowRun, error) {
	none := operation.Operation{}
	identity, err := d.Identities.Verify(ctx, token)
	if errors.Is(err, hub.ErrNoIdentity) {
		return none, operation.WorkflowRun{}, &Denied{Kind: NoIdentity, Reason: "The token does not say which job this is."}
	}
	if err != nil {
		return none, operation.WorkflowRun{}, fmt.Errorf("verify the identity of a job: %w", err)
	}
	run, err := d.launched(ctx, identity, asked)
	if err != nil {
		return none, run, err
	}
	if wrong := gitflow.DecideJob(identity, run); wrong != "" {
		zerolog.Ctx(ctx).Warn().Int64(keyOperation, asked.Operation).Int64(keyRun, identity.Run).Int64(keyRepository, identity.RepositoryID).
			Str("why", wrong).Msg("a job asks for what is another one's")
		return none, run, &Denied{Kind: NotYours, Reason: fmt.Sprintf("This is not the job of operation %d: %s.", asked.Operation, wrong)}
	}
	op, err := d.Store.Operation(ctx, asked.Operation)
	if err != nil {
		return none, run, fmt.Errorf("read operation: %w", err)
	}
	switch {
	case op.State != operation.Running:
		return none, run, &Denied{Kind: NotNow, Reason: fmt.Sprintf("%s does not run any more: it is %s.", op, op.State)}
	case op.Attempt != asked.Attempt || op.Launch != asked.Launch:
		return none, run, &Denied{Kind: NotNow, Reason: fmt.Sprintf("%s is carried out by another run meanwhile.", op)}
	}
	return op, run, nil
}

// launched is the run that was dispatched for what a job says it carries out, in the job's own repository.
func (d *Deploy) launched(ctx context.Context, identity operation.JobIdentity, asked JobAsked) (operation.WorkflowRun, error) {
	rows, err := d.Store.RunsOf(ctx, identity.RepositoryID, asked.Operation, asked.Attempt)
	if err != nil {
		return operation.WorkflowRun{}, err //nolint:wrapcheck // says what was looked for
	}
	for _, row := range rows {
		if subtle.ConstantTimeCompare([]byte(row.Task.Launch), []byte(asked.Launch)) != 1 {
			continue
		}
		if row.Run != 0 {
			return row, nil
		}
		run, err := d.Hub.Run(ctx, row.Task.Repository, identity.Run)
		if err != nil {
			return row, fmt.Errorf("look at the job's run: %w", err)
		}
		found, known, err := d.runFor(ctx, row.Task.Repository, run)
		if err == nil && known && found.Task.Launch == row.Task.Launch {
			row = found
		}
		return row, err
	}
	return operation.WorkflowRun{}, &Denied{Kind: NotKnown, Reason: "There is no such operation in this repository."}
}

// Modules is a token that reads the repositories of modules, and nothing else.
type Modules struct {
	Repositories []string  `json:"repositories"` // owner/name; none: the configuration lists none, and there is no token
	Token        string    `json:"token,omitempty"`
	Expires      time.Time `json:"expires_at,omitzero"`
}

// ModuleToken gives a job the token for the repositories that the configuration of the default branch lists as modules. The error
// is *Denied where it does not get one.
func (d *Deploy) ModuleToken(ctx context.Context, token string, asked JobAsked) (Modules, error) {
	op, _, err := d.asker(ctx, token, asked)
	if err != nil {
		return Modules{}, err
	}
	config, err := d.known(ctx, op.Repository)
	if err != nil {
		return Modules{}, err
	}
	if config.Problem != "" {
		return Modules{}, &Denied{Kind: NotNow, Reason: "The configuration on the default branch cannot be used."}
	}
	if len(config.Modules) == 0 {
		return Modules{}, nil
	}
	names := make([]string, 0, len(config.Modules))
	for _, full := range config.Modules {
		repo, err := operation.ParseFullName(full)
		if err != nil || !strings.EqualFold(repo.Owner, op.Repository.Owner) {
			return Modules{}, &Denied{Kind: NotNow, Reason: fmt.Sprintf("`modules` has %s, which is not of %s: the App's installation here "+
				"cannot read it. Give the job a secret for it instead.", full, op.Repository.Owner)}
		}
		names = append(names, repo.Name)
	}
	made, expires, err := d.Hub.ReadToken(ctx, op.Repository.Installation, names)
	gone, person := (*hub.Gone)(nil), (*hub.NeedsPerson)(nil)
	if errors.As(err, &gone) || errors.As(err, &person) {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("no token for the repositories of modules")
		return Modules{}, &Denied{Kind: NotNow, Reason: fmt.Sprintf("GitHub gives no token for %s. Install the App on each of them.",
			strings.Join(config.Modules, ", "))}
	}
	if err != nil {
		return Modules{}, fmt.Errorf("get a token for modules: %w", err)
	}
	return Modules{Repositories: config.Modules, Token: made, Expires: expires}, wrap("record that modules may be read", d.Store.Append(ctx,
		store.Audit{
			Repository: op.Repository.ID, Environment: op.Environment, Operation: op.ID, Who: "switchyard", What: "modules may be read",
			Why: strings.Join(config.Modules, ", "),
		}))
}
