package server

import (
	"context"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
)

// SetOverdue shortens how long after its limits a runner counts as ended. For tests, before Run.
func (s *Server) SetOverdue(d time.Duration) { s.deploy.Overdue = d }

// ActionWith is Action on a machine on which Terraform may reach more, such as the states of a local backend.
func ActionWith(
	ctx context.Context, env job.Environ, all []string, out io.Writer, log zerolog.Logger, isolation operation.Isolation,
) error {
	return action(ctx, env, all, out, log, isolation)
}

// GiveUp has a job be one that failed too often.
func (s *Server) GiveUp(ctx context.Context, job queue.Job, reason string) {
	s.deploy.Dead(s.log.WithContext(ctx), job, reason)
}
