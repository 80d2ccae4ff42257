package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/deploy"
)

// The paths that jobs of workflows ask, with a token of GitHub that says which job it is.
const (
	ConfirmPath = "/api/job/confirm" // POST: whether an apply may begin now
	ModulesPath = "/api/job/modules" // POST: a token for the repositories of private modules
)

// Jobs answers jobs of workflows. *deploy.Deploy does. Its errors are *deploy.Denied where the answer is no.
type Jobs interface {
	ConfirmApply(ctx context.Context, token string, asked deploy.JobAsked) error
	ModuleToken(ctx context.Context, token string, asked deploy.JobAsked) (deploy.Modules, error)
}

// Bounds on what jobs ask. Anybody can reach these paths, so what is not a job's question must cost little.
const (
	maxJobBody    = 4 << 10  // bytes
	maxJobToken   = 16 << 10 // bytes; GitHub's have about two thousand
	jobDeadline   = 20 * time.Second
	jobsAtOnce    = 16
	jobsPerWindow = 300
	jobsWindow    = 10 * time.Second
	retryJobAfter = "5" // seconds
)

// jobs is the endpoint of jobs.
type jobs struct {
	answers Jobs
	clock   clockwork.Clock
	log     zerolog.Logger
	slots   chan struct{}

	mu     sync.Mutex
	window time.Time // when it began
	count  int       // of the requests since then
}

func newJobs(answers Jobs, clock clockwork.Clock, log zerolog.Logger) *jobs {
	return &jobs{answers: answers, clock: clock, log: log, slots: make(chan struct{}, jobsAtOnce)}
}

// admit reports whether a further request is looked at now.
func (j *jobs) admit() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := j.clock.Now(); now.Sub(j.window) >= jobsWindow {
		j.window, j.count = now, 0
	}
	j.count++
	return j.count <= jobsPerWindow
}

// confirm says whether an apply may begin.
func (j *jobs) confirm(w http.ResponseWriter, r *http.Request) {
	j.serve(w, r, "confirm", func(ctx context.Context, token string, asked deploy.JobAsked) (any, error) {
		return struct{}{}, j.answers.ConfirmApply(ctx, token, asked)
	})
}

// modules gives a token for the repositories of modules.
func (j *jobs) modules(w http.ResponseWriter, r *http.Request) {
	j.serve(w, r, "modules", func(ctx context.Context, token string, asked deploy.JobAsked) (any, error) {
		return j.answers.ModuleToken(ctx, token, asked)
	})
}

// statusOf is the status of each answer that is no.
var statusOf = map[deploy.Denial]int{
	deploy.NoIdentity: http.StatusUnauthorized,
	deploy.NotYours:   http.StatusForbidden,
	deploy.NotKnown:   http.StatusNotFound,
	deploy.NotNow:     http.StatusConflict,
}

// serve reads a question and writes its answer. The token is in no log line and in no answer.
func (j *jobs) serve(w http.ResponseWriter, r *http.Request, what string,
	answer func(ctx context.Context, token string, asked deploy.JobAsked) (any, error),
) {
	if !j.admit() {
		w.Header().Set("Retry-After", retryJobAfter)
		deny(w, http.StatusTooManyRequests, "Too many questions at once: ask again.")
		return
	}
	select {
	case j.slots <- struct{}{}:
		defer func() { <-j.slots }()
	default:
		w.Header().Set("Retry-After", retryJobAfter)
		deny(w, http.StatusTooManyRequests, "Too many questions at once: ask again.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), jobDeadline)
	defer cancel()
	_ = http.NewResponseController(w).SetReadDeadline(j.clock.Now().Add(jobDeadline)) // as for webhooks
	token, asked, status, problem := question(w, r)
	if problem != "" {
		deny(w, status, problem)
		return
	}
	line := j.log.With().Str("asked", what).Int64("operation", asked.Operation).Int("attempt", asked.Attempt).Logger()
	given, err := answer(line.WithContext(ctx), token, asked)
	denied, no := errors.AsType[*deploy.Denied](err)
	switch {
	case err == nil:
		line.Info().Msg("A job has its answer")
		reply, err := json.Marshal(given)
		if err != nil {
			deny(w, http.StatusInternalServerError, "The answer cannot be written.")
			return
		}
		say(w, http.StatusOK, reply)
	case no:
		line.Warn().Str(keyWhy, denied.Reason).Msg("A job is denied what it asks for")
		deny(w, statusOf[denied.Kind], denied.Reason)
	default:
		line.Error().Err(err).Msg("A job has no answer")
		deny(w, http.StatusServiceUnavailable, "The server cannot tell now: ask again.")
	}
}

// question reads what a job asks. problem is what is wrong with it; "" is nothing.
func question(w http.ResponseWriter, r *http.Request) (token string, asked deploy.JobAsked, status int, problem string) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" || len(token) > maxJobToken {
		return "", asked, http.StatusUnauthorized, "The header Authorization has no token of a job."
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return "", asked, http.StatusBadRequest, "The content type must be application/json."
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJobBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "", asked, http.StatusRequestEntityTooLarge, "The question is too large."
	}
	if err != nil {
		return "", asked, http.StatusBadRequest, "The question broke off."
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil || decoder.More() || asked.Operation <= 0 || asked.Attempt <= 0 || asked.Launch == "" {
		return "", asked, http.StatusBadRequest, "The question must be a JSON object with operation, attempt and launch."
	}
	return token, asked, http.StatusOK, ""
}

// deny writes an answer that is no.
func deny(w http.ResponseWriter, status int, reason string) {
	reply, err := json.Marshal(map[string]string{"reason": reason})
	if err != nil {
		reply = []byte(`{}`)
	}
	say(w, status, reply)
}

func say(w http.ResponseWriter, status int, reply []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(reply, '\n')) // the job may be gone; it asks again
}
