package server

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/queue"
)

// SetOverdue shortens how long after its limits a runner counts as ended. For tests, before Run.
func (s *Server) SetOverdue(d time.Duration) { s.deploy.Overdue = d }

// GiveUp has a job be one that failed too often.
func (s *Server) GiveUp(ctx context.Context, job queue.Job, reason string) {
	s.deploy.Dead(s.log.WithContext(ctx), job, reason)
}
