package job

import (
	"bytes"
	"cmp"
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

// confirmPath is below a server's address.
const confirmPath = "/api/job/confirm"

// How a server is asked. Who gives its address says that jobs can reach it.
const (
	confirmLimit = 20 * time.Second // for all tries together
	confirmTries = 3
	confirmEvery = 3 * time.Second
	maxAnswer    = 64 << 10 // bytes
)

// Confirmation is what a job asks a server just before it applies: whether this attempt is still the one that may.
type Confirmation struct {
	Operation int64  `json:"operation"`
	Attempt   int    `json:"attempt"`
	Launch    string `json:"launch"`
}

// Denial is a server's answer with a status other than 200.
type Denial struct {
	Reason string `json:"reason"` // a sentence
}

// confirm asks the server, where the job is told to, whether the operation still has its hold: just before the first apply. Nothing is
// applied without its yes. It is nil where no server is to be asked; the workflow's word for that goes before the dispatch's.
func (p Parts) confirm(task operation.Task) (func(context.Context) error, error) {
	server := cmp.Or(p.Env.input(inputServer), task.Job.Server)
	if !task.Kind.Exclusive() || server == "" {
		return nil, nil //nolint:nilnil // nobody is asked
	}
	audience, err := serverAddress(server)
	if err != nil {
		return nil, err
	}
	if told := strings.TrimRight(task.Job.Server, "/"); told != "" && told != audience {
		return nil, fmt.Errorf("the task names the server %s, and the workflow %s", quote(told), quote(audience))
	}
	if p.Machine.Identity.Address == "" || p.Machine.Identity.Secret == "" {
		return nil, fmt.Errorf("the server %s has to confirm the apply, and this job cannot prove to it which job it is: "+
			"give it the permission `id-token: write`", quote(audience))
	}
	body, err := json.Marshal(Confirmation{Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch})
	if err != nil {
		return nil, fmt.Errorf("encode the question: %w", err)
	}
	return func(ctx context.Context) error { return p.ask(ctx, audience, body) }, nil
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

// ask asks the server until it answers, a few times. What is not answered is no yes.
func (p Parts) ask(ctx context.Context, server string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	var last error
	for try := range confirmTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("the server %s did not confirm the apply in time: %w", server, last)
			case <-p.Clock.After(confirmEvery):
			}
		}
		final, err := p.askOnce(ctx, server, body)
		if err == nil || final {
			return err
		}
		last = err
	}
	return fmt.Errorf("the server %s did not confirm the apply: %w", server, last)
}

// askOnce asks the server once. final says that another try would not help.
func (p Parts) askOnce(ctx context.Context, server string, body []byte) (final bool, err error) {
	token, err := p.GitHub.IdentityToken(ctx, p.Machine.Identity.Address, p.Machine.Identity.Secret, server)
	if err != nil {
		return false, err //nolint:wrapcheck // says what was asked
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server+confirmPath, bytes.NewReader(body))
	if err != nil {
		return true, fmt.Errorf("make the question: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{ // an identity is not sent on
		Transport: p.Network, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return false, fmt.Errorf("ask it: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode == http.StatusOK {
		return true, nil
	}
	var denial Denial
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		_ = json.Unmarshal(data, &denial) // what is no such answer has no reason
	}
	reason := clip(p.withoutToken(strings.ReplaceAll(denial.Reason, token, "***")))
	switch {
	case response.StatusCode == http.StatusTooManyRequests, response.StatusCode >= http.StatusInternalServerError:
		return false, fmt.Errorf("it answers %s", response.Status)
	case reason != "":
		return true, fmt.Errorf("the server says no: %s", reason)
	default:
		return true, fmt.Errorf("the server %s does not confirm the apply: it answers %s", server, response.Status)
	}
}
