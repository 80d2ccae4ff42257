package server

import "time"

// SetOverdue shortens how long after its limits a runner counts as ended. For tests, before Run.
func (s *Server) SetOverdue(d time.Duration) { s.deploy.Overdue = d }
