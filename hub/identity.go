package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
)

// ErrNoIdentity says that a token does not say who a job is: it is forged, expired, or for somebody else.
var ErrNoIdentity = errors.New("the token is no identity of a job for this server")

// Bounds on what GitHub's issuer of identities is asked and answers.
const (
	identityTimeout   = 10 * time.Second
	maxIdentityAnswer = 1 << 20 // bytes of the discovery document, and of the keys
	maxIdentity       = 16 << 10
	identityAlgorithm = "RS256" // https://docs.github.com/en/actions/reference/security/oidc
)

// Identities verifies the tokens by which jobs of GitHub Actions say who they are.
type Identities struct {
	issuer, audience string
	client           *http.Client
	clock            clockwork.Clock

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil until the issuer was asked
}

// NewIdentities makes a verifier of tokens that an issuer has signed for an audience. It calls nothing: the issuer is asked for its
// keys with the first token, and again for a key that is not known. transport nil is http.DefaultTransport, clock nil the real one.
func NewIdentities(issuer, audience string, transport http.RoundTripper, clock clockwork.Clock) *Identities {
	if transport == nil {
		transport = http.DefaultTransport
	}
	if clock == nil {
		clock = clockwork.NewRealClock()
	}
	return &Identities{
		issuer: issuer, audience: audience, clock: clock,
		client: &http.Client{Transport: bounding{transport}, Timeout: identityTimeout, CheckRedirect: stay},
	}
}

// claims are what is taken from a token. GitHub gives numbers as text.
// https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims
type claims struct {
	RepositoryID string `json:"repository_id"`
	Run          string `json:"run_id"`
	Attempt      string `json:"run_attempt"`
	WorkflowRef  string `json:"workflow_ref"`
	Environment  string `json:"environment"`
	Ref          string `json:"ref"`
	SHA          string `json:"sha"`
	Event        string `json:"event_name"`
}

// Verify reads a token. The error is ErrNoIdentity where the token is not right; every other one is a fault.
func (i *Identities) Verify(ctx context.Context, token string) (operation.JobIdentity, error) {
	if len(token) > maxIdentity {
		return operation.JobIdentity{}, ErrNoIdentity
	}
	verifier, err := i.known(ctx)
	if err != nil {
		return operation.JobIdentity{}, err
	}
	read, err := verifier.Verify(oidc.ClientContext(ctx, i.client), token)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // the library has no type for that
		return operation.JobIdentity{}, fmt.Errorf("ask %s for its keys: it gives none", i.issuer)
	}
	if err != nil { // its words may repeat what the sender wrote
		return operation.JobIdentity{}, ErrNoIdentity
	}
	var got claims
	if err := read.Claims(&got); err != nil {
		return operation.JobIdentity{}, ErrNoIdentity
	}
	identity := operation.JobIdentity{WorkflowRef: got.WorkflowRef, Environment: got.Environment, Ref: got.Ref, SHA: got.SHA, Event: got.Event}
	for _, number := range []struct {
		text string
		to   *int64
	}{{got.RepositoryID, &identity.RepositoryID}, {got.Run, &identity.Run}} {
		if *number.to, err = strconv.ParseInt(number.text, 10, 64); err != nil || *number.to <= 0 {
			return operation.JobIdentity{}, ErrNoIdentity
		}
	}
	if identity.Attempt, err = strconv.Atoi(got.Attempt); err != nil || identity.Attempt <= 0 {
		return operation.JobIdentity{}, ErrNoIdentity
	}
	return identity, nil
}

// known asks the issuer once where its keys are.
func (i *Identities) known(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier != nil {
		return i.verifier, nil
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, i.client), i.issuer)
	if err != nil {
		return nil, fmt.Errorf("ask %s for its keys: %w", i.issuer, err)
	}
	i.verifier = provider.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), i.client), &oidc.Config{
		ClientID: i.audience, SupportedSigningAlgs: []string{identityAlgorithm}, Now: i.clock.Now,
	})
	return i.verifier, nil
}

// bounding gives at most maxIdentityAnswer bytes of each answer.
type bounding struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounding) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // a RoundTripper hands on what it got
	}
	body := response.Body
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, maxIdentityAnswer), body}
	return response, nil
}
