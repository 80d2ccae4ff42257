package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// How a server is asked. Who gives its address says that jobs can reach it.
const (
	confirmLimit = 20 * time.Second // for all tries together
	confirmTries = 3
	confirmEvery = 3 * time.Second
	maxAnswer    = 64 << 10 // bytes
)

// Confirmation is which attempt a job asks a server about.
type Confirmation struct {
	Operation int64  `json:"operation"`
	Attempt   int    `json:"attempt"`
	Launch    string `json:"launch"`
}

// Denial is a server's answer with a status other than 200.
type Denial struct {
	Reason string `json:"reason"` // a sentence
}

// serverAddress is a server's address without a slash behind it. A job's identity is sent to it, so it must be one of HTTPS, but for
// the machine itself.
func serverAddress(text string) (string, error) {
	text = strings.TrimRight(text, "/")
	at, err := url.Parse(text)
	if err != nil || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || at.Opaque != "" {
		return "", fmt.Errorf("the address of the server is %s; it must be like https://switchyard.example.com", quote(text))
	}
	ip := net.ParseIP(at.Hostname())
	if at.Scheme != "https" && (at.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return "", fmt.Errorf("the address of the server is %s; it must begin with https://", quote(text))
	}
	return text, nil
}

// deniedError is a server's answer that is no yes, and that another try would not change.
type deniedError struct {
	reason string // the server's, or empty
	status string // of HTTP
}

func (e *deniedError) Error() string {
	if e.reason != "" {
		return e.reason
	}
	return "it answers " + e.status
}

// askServer asks a server about a task's attempt, with the job's identity, a few times until it answers, and gives its answer. The error
// is *deniedError where it says no.
func (p Parts) askServer(ctx context.Context, server, path string, task operation.Task) ([]byte, error) {
	body, err := json.Marshal(Confirmation{Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch})
	if err != nil {
		return nil, fmt.Errorf("encode the question: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	var last error
	for try := range confirmTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("the time is up: %w", last)
			case <-p.Clock.After(confirmEvery):
			}
		}
		answer, err := p.askOnce(ctx, server, path, body)
		if _, denied := errors.AsType[*deniedError](err); err == nil || denied {
			return answer, err
		}
		last = err
	}
	return nil, last
}

// askOnce asks a server once.
func (p Parts) askOnce(ctx context.Context, server, path string, body []byte) (answer []byte, err error) {
	identity, err := p.GitHub.IdentityToken(ctx, p.Machine.Identity.Address, p.Machine.Identity.Secret, server)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what was asked
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the question: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+identity)
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{ // an identity is not sent on
		Transport: p.Network, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask it: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case response.StatusCode == http.StatusTooManyRequests, response.StatusCode >= http.StatusInternalServerError:
		return nil, fmt.Errorf("it answers %s", response.Status)
	case response.StatusCode != http.StatusOK:
		var denial Denial
		_ = json.Unmarshal(answer, &denial) // what is no such answer has no reason
		return nil, &deniedError{
			reason: clip(p.withoutToken(strings.ReplaceAll(denial.Reason, identity, "***"))), status: response.Status,
		}
	case err != nil:
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	return answer, nil
}
