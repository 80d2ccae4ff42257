package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// Action is what a job of GitHub Actions runs: the operation that a server dispatched, or, without a server, what the job's event asks
// for. write are directories that Terraform may change beside its own. The error is job.ErrNotDone where a result says what happened.
func Action(ctx context.Context, env job.Environ, all []string, out io.Writer, log zerolog.Logger, write ...string) error {
	isolation := isolationOf(env)
	isolation.Write = append(isolation.Write, write...)
	return action(ctx, env, all, out, log, isolation)
}

// action is Action with what Terraform may reach of the machine.
func action(
	ctx context.Context, env job.Environ, all []string, out io.Writer, log zerolog.Logger, isolation operation.Isolation,
) error {
	machine, err := job.ReadMachine(env)
	if err != nil {
		return err //nolint:wrapcheck // says what is missing
	}
	hubs, err := hub.New(hub.Options{
		Bearer: machine.Token, APIURL: machine.API, WebURL: machine.Web, GraphQLURL: machine.GraphQL, Log: log,
	})
	if err != nil {
		return fmt.Errorf("set up the GitHub client: %w", err)
	}
	if !job.IsDispatched(env) && !job.IsAboutLocks(env) {
		return Alone(ctx, AloneOptions{Env: env, All: all, Machine: machine, Hub: hubs, Out: out, Log: log, Isolation: isolation})
	}
	var opened []*git.Mirrors
	defer func() {
		for _, mirrors := range opened {
			_ = mirrors.Close() // the machine is thrown away, or the directory is
		}
	}()
	parts := job.Parts{
		Env: env, All: all, Machine: machine, GitHub: hubs, Clock: clockwork.NewRealClock(), Out: out, Find: terraform.Find,
		Run: func(ctx context.Context, task operation.Task, confirm func(context.Context) error) operation.Result {
			task.Isolation = isolation
			return runner.RunConfirmed(ctx, task, out, confirm)
		},
	}
	parts.Git = func(refs []string) job.Mirrors {
		mirrors := git.New(filepath.Join(parts.Dir(), dirMirrors), hubs.CloneURL, hubs.Token,
			git.Options{Log: log, Env: networkOf(env), Refs: refs})
		opened = append(opened, mirrors)
		return mirrors
	}
	if !job.IsDispatched(env) {
		return job.Locks(ctx, parts) //nolint:wrapcheck // says itself what failed
	}
	return job.Dispatched(ctx, parts) //nolint:wrapcheck // says itself what failed
}

// isolationOf is what a job's machine offers. Machines of GitHub Actions differ, and all that is here belongs to this one job.
func isolationOf(env job.Environ) operation.Isolation {
	isolation := operation.Isolation{Missing: confine.Missing()}
	if dir, ok := env("AZURE_CONFIG_DIR"); ok && filepath.IsAbs(dir) { // where an earlier step has logged in
		if _, err := os.Stat(dir); err == nil {
			isolation.Read = append(isolation.Read, dir)
		}
	}
	return isolation
}

// networkOf are the variables by which a machine says how it reaches the network.
func networkOf(env job.Environ) map[string]string {
	found := map[string]string{}
	for _, name := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
	} {
		if value, ok := env(name); ok && value != "" {
			found[name] = value
		}
	}
	return found
}
