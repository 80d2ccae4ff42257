package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/executor/actions"
	"github.com/switchyard-dev/switchyard/executor/local"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/terraform"
)

// executors makes those that the settings allow, and Terraform where this host needs one.
func (s *Server) executors(ctx context.Context, o Options, hubs *hub.Hub, to *deploy.Options) error {
	to.Standard = s.settings.Executors[0]
	if s.settings.Allows(settings.ExecutorActions) {
		to.Actions = actions.New(actions.Options{
			GitHub: hubs, Rows: rows{s.store}, Clock: o.Clock, Log: o.Log, QueueLimit: s.settings.Limits.Queue, Jitter: rand.Float64,
		})
	}
	if !s.settings.Allows(settings.ExecutorLocal) {
		return nil
	}
	path := s.settings.Terraform.Path
	if path == "" {
		var err error
		if path, err = terraform.Find(ctx, terraform.Want{
			Version: s.settings.Terraform.Version, InstallDir: filepath.Join(s.settings.DataDir, dirTools),
		}); err != nil {
			return fmt.Errorf("find Terraform: %w", err)
		}
	}
	runs, err := local.New(local.Options{
		Binary: o.Program, Dir: filepath.Join(s.settings.DataDir, dirRuns), Env: environ(s.settings.NetworkEnv()),
		Plans: s.settings.Parallel.Plans, Applies: s.settings.Parallel.Applies, Isolation: s.settings.Isolation,
	})
	if err != nil {
		return fmt.Errorf("set up the local executor: %w", err)
	}
	sayIsolation(o.Log, s.settings.Isolation)
	to.Executor = runs
	to.Terraform = operation.TerraformTask{Path: path, Version: s.settings.Terraform.Version}
	return nil
}

// rows are where the executor of workflow runs keeps them: the store, in that executor's words.
type rows struct{ *store.Store }

func (r rows) AskForRun(ctx context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error) {
	run, err := r.Store.AskForRun(ctx, run)
	if errors.Is(err, store.ErrLost) {
		return run, fmt.Errorf("%w: %w", executor.ErrStarted, err)
	}
	return run, err //nolint:wrapcheck // the executor says what it did
}

func (r rows) SaveRun(ctx context.Context, run operation.WorkflowRun) error {
	err := r.Store.SaveRun(ctx, run)
	if errors.Is(err, store.ErrLost) {
		return fmt.Errorf("%w: %w", executor.ErrUnknown, err)
	}
	return err //nolint:wrapcheck // as above
}

func (r rows) Run(ctx context.Context, operationID int64, attempt int, launch string) (operation.WorkflowRun, error) {
	run, err := r.Store.Run(ctx, operationID, attempt, launch)
	if errors.Is(err, store.ErrNotFound) {
		return run, fmt.Errorf("%w: %w", executor.ErrUnknown, err)
	}
	return run, err //nolint:wrapcheck // as above
}
