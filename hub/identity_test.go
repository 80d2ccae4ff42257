package hub_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

const audience = "https://switchyard.example.com"

// issuer signs identities of jobs.
type issuer struct {
	url   string
	key   *rsa.PrivateKey
	id    atomic.Value // of its key
	down  atomic.Bool
	asked atomic.Int64 // for its keys
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.id.Store("first")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		encode := base64.RawURLEncoding.EncodeToString
		var answer any = map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "RS512", "HS256", "none"}}
		if r.URL.Path == "/keys" {
			i.asked.Add(1)
			answer = map[string]any{"keys": []any{map[string]any{
				"kty": "RSA", "use": "sig", "kid": i.id.Load(), "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
			}}}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

// claims are those of a right token at a time.
func (i *issuer) claims(now time.Time) jwt.MapClaims {
	return jwt.MapClaims{
		"iss": i.url, "aud": audience, "sub": "repo:acme/network:environment:prod", "nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(),
		"exp": now.Add(5 * time.Minute).Unix(), "repository_id": "5", "run_id": "9", "run_attempt": "1", "event_name": "workflow_dispatch",
		"workflow_ref": "acme/network/.github/workflows/switchyard.yml@refs/heads/main", "environment": "prod", "ref": "refs/heads/main", "sha": "c0ffee",
	}
}

func (i *issuer) sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = i.id.Load()
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestAnIdentityIsReadFromAToken(t *testing.T) {
	t.Parallel()
	i, clock := newIssuer(t), clockwork.NewFakeClockAt(start)
	identities := hub.NewIdentities(i.url, audience, nil, clock)
	want := operation.JobIdentity{
		RepositoryID: 5, Run: 9, Attempt: 1, WorkflowRef: "acme/network/.github/workflows/switchyard.yml@refs/heads/main", Environment: "prod",
		Ref: "refs/heads/main", SHA: "c0ffee", Event: "workflow_dispatch",
	}
	for range 3 {
		got, err := identities.Verify(t.Context(), i.sign(t, jwt.SigningMethodRS256, i.key, i.claims(start)))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v, -want +got:\n%s", err, diff)
		}
	}
	if asked := i.asked.Load(); asked != 1 {
		t.Errorf("the issuer was asked for its keys %d times", asked)
	}
	i.id.Store("second") // a new key
	if _, err := identities.Verify(t.Context(), i.sign(t, jwt.SigningMethodRS256, i.key, i.claims(start))); err != nil {
		t.Errorf("after a new key: %v", err)
	}
}

func TestAWrongTokenIsNoIdentity(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(jwt.MapClaims)) string {
		claims := i.claims(start)
		change(claims)
		return i.sign(t, jwt.SigningMethodRS256, i.key, claims)
	}
	set := func(name string, value any) string { return with(func(c jwt.MapClaims) { c[name] = value }) }
	right := set("sha", "c0ffee")
	parts := strings.Split(right, ".")
	for name, token := range map[string]string{
		"nothing":                               "",
		"a word":                                "hello",
		"a very long word":                      strings.Repeat("x", 20_000),
		"without a signature":                   parts[0] + "." + parts[1] + ".",
		"with other claims below the signature": parts[0] + "." + strings.Split(set("sha", "beef"), ".")[1] + "." + parts[2],
		"signed with nothing":                   i.sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, i.claims(start)),
		"signed with the public key as secret":  i.sign(t, jwt.SigningMethodHS256, i.key.N.Bytes(), i.claims(start)),
		"signed with another key":               i.sign(t, jwt.SigningMethodRS256, other, i.claims(start)),
		"signed with another algorithm":         i.sign(t, jwt.SigningMethodRS512, i.key, i.claims(start)),
		"of another issuer":                     set("iss", "https://token.actions.githubusercontent.com.evil.example"),
		"for another audience":                  set("aud", "https://github.com/acme"),
		"for a beginning of the audience":       set("aud", audience+".evil.example"),
		"without an audience":                   with(func(c jwt.MapClaims) { delete(c, "aud") }),
		"that has expired":                      set("exp", start.Add(-time.Second).Unix()),
		"without an end":                        with(func(c jwt.MapClaims) { delete(c, "exp") }),
		"that is of tomorrow":                   set("nbf", start.Add(time.Hour).Unix()),
		"without a run":                         with(func(c jwt.MapClaims) { delete(c, "run_id") }),
		"with a run that is a path":             set("run_id", "../1"),
		"with a negative run":                   set("run_id", "-9"),
		"without a repository":                  with(func(c jwt.MapClaims) { delete(c, "repository_id") }),
		"without an attempt":                    with(func(c jwt.MapClaims) { delete(c, "run_attempt") }),
		"with an environment that is a list":    set("environment", []string{"prod"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			identities := hub.NewIdentities(i.url, audience, nil, clockwork.NewFakeClockAt(start))
			got, err := identities.Verify(t.Context(), token)
			if !errors.Is(err, hub.ErrNoIdentity) || got != (operation.JobIdentity{}) {
				t.Errorf("it gives %+v, %v", got, err)
			}
		})
	}
}

func TestAnIssuerThatIsDownIsAFault(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	token := i.sign(t, jwt.SigningMethodRS256, i.key, i.claims(start))
	identities := hub.NewIdentities(i.url, audience, nil, clockwork.NewFakeClockAt(start))
	i.down.Store(true)
	if _, err := identities.Verify(t.Context(), token); err == nil || errors.Is(err, hub.ErrNoIdentity) {
		t.Errorf("before it was ever asked: %v", err)
	}
	i.down.Store(false)
	if _, err := identities.Verify(t.Context(), token); err != nil {
		t.Errorf("when it is there again: %v", err)
	}
	i.down.Store(true)
	i.id.Store("second")
	if _, err := identities.Verify(t.Context(), i.sign(t, jwt.SigningMethodRS256, i.key, i.claims(start))); err == nil || errors.Is(err, hub.ErrNoIdentity) {
		t.Errorf("with a new key: %v", err)
	}
}
