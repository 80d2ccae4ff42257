package sandbox

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

const (
	identityKey  = "sandbox-1"
	identityLife = 5 * time.Minute
	runtimeLife  = 6 * time.Hour // at most; it ends with its job
)

// immutableSince is when GitHub began to put ids into sub of new repositories.
// https://docs.github.com/en/actions/reference/security/oidc
var immutableSince = time.Date(2026, time.July, 15, 0, 0, 0, 0, time.UTC)

// identityKeys makes the key that identities are signed with, when it is first needed.
func identityKeys() (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("make the key of identities: %w", err)
	}
	return key, nil
}

// IssuerURL is the issuer of OIDC tokens; its discovery document is below it.
func (s *Sandbox) IssuerURL() string { return s.url + servicesPath + "oidc" }

// runtimeOf gives a job its runtime token, and says what actions in JavaScript and containers find in their environment: the
// service of artifacts. The caller holds mu.
func (s *Sandbox) runtimeOf(j *job) map[string]string {
	run, job := j.backendIDs()
	j.runtime = s.sign(jwt.MapClaims{
		"scp": "Actions.ExampleScope Actions.Results:" + run + ":" + job, "iss": s.url, "jti": randomHex(),
		"exp": s.now().Add(runtimeLife).Unix(), "nbf": s.now().Add(-time.Minute).Unix(),
	})
	s.runtimes[j.runtime] = j
	return map[string]string{
		"ACTIONS_RUNTIME_URL": s.url + "/", "ACTIONS_RUNTIME_TOKEN": j.runtime, "ACTIONS_RESULTS_URL": s.url + "/",
	}
}

// identityOf is where a job with id-token: write asks for its identity. The caller holds mu.
// https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
func (s *Sandbox) identityOf(j *job) map[string]string {
	return map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL":   s.IssuerURL() + "/token/" + strconv.FormatInt(j.id, 10) + "?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": j.runtime,
	}
}

// sign makes a token; an empty one where there is no key.
func (s *Sandbox) sign(claims jwt.MapClaims) string {
	key, err := s.identity()
	if err != nil {
		s.log.Error().Err(err).Msg("sign a token")
		return ""
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = identityKey
	signed, err := token.SignedString(key)
	if err != nil {
		s.log.Error().Err(err).Msg("sign a token")
	}
	return signed
}

func (s *Sandbox) serveIdentity(w http.ResponseWriter, r *http.Request, rest string) {
	switch {
	case rest == ".well-known/openid-configuration":
		writeJSON(w, object{
			"issuer": s.IssuerURL(), "jwks_uri": s.IssuerURL() + "/.well-known/jwks", "subject_types_supported": []string{"public", "pairwise"},
			"response_types_supported": []string{"id_token"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"scopes_supported": []string{"openid"}, "claims_supported": []string{
				"sub", "aud", "exp", "iat", "iss", "jti", "nbf", "ref", "sha", "repository", "repository_id", "repository_owner",
				"repository_owner_id", "run_id", "run_number", "run_attempt", "actor", "actor_id", "workflow", "workflow_ref", "workflow_sha",
				"head_ref", "base_ref", "event_name", "ref_type", "ref_protected", "environment", "job_workflow_ref", "job_workflow_sha",
				"repository_visibility", "runner_environment", "check_run_id",
			},
		})
	case rest == ".well-known/jwks":
		s.serveKeys(w)
	case strings.HasPrefix(rest, "token/"):
		s.serveToken(w, r, strings.TrimPrefix(rest, "token/"))
	default:
		answer := s.refuseUnserved(r)
		answer.write(w)
	}
}

func (s *Sandbox) serveKeys(w http.ResponseWriter) {
	key, err := s.identity()
	if err != nil {
		http.Error(w, "no key", http.StatusInternalServerError)
		return
	}
	encode := base64.RawURLEncoding.EncodeToString
	writeJSON(w, object{"keys": []object{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": identityKey,
		"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
	}}})
}

// serveToken hands an identity to the job that the request token is of.
func (s *Sandbox) serveToken(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	j := s.jobOf(r)
	allowed := j != nil && strconv.FormatInt(j.id, 10) == id && j.permissions["id-token"] == "write"
	var claims jwt.MapClaims
	if allowed {
		claims = s.claims(j, r.URL.Query().Get("audience"))
	}
	s.mu.Unlock()
	if !allowed {
		http.Error(w, `{"message":"The request token is not valid for this job."}`, http.StatusForbidden)
		return
	}
	signed := s.sign(claims)
	writeJSON(w, object{"count": len(signed), "value": signed})
}

// claims are those of GitHub's tokens. The caller holds mu.
// https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims
func (s *Sandbox) claims(j *job, audience string) jwt.MapClaims {
	run, r, now := j.run, j.run.repository, s.now()
	if audience == "" {
		audience = s.url + "/" + r.owner.login
	}
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	number := func(id int64) string { return strconv.FormatInt(id, 10) }
	claims := jwt.MapClaims{
		"jti": newGUID(), "sub": r.subject(j), "aud": audience, "iss": s.IssuerURL(), "iat": now.Unix(),
		"nbf": now.Add(-identityLife).Unix(), "exp": now.Add(identityLife).Unix(), "ref": run.ref, "sha": run.sha,
		"repository": r.FullName(), "repository_id": number(r.id), "repository_owner": r.owner.login,
		"repository_owner_id": number(r.owner.id), "repository_visibility": visibility, "run_id": number(run.id),
		"run_number": strconv.Itoa(run.number), "run_attempt": strconv.Itoa(run.attempt), "actor": run.actor.login,
		"actor_id": number(run.actor.id), "workflow": run.workflow.name, "workflow_ref": run.workflowRef(), "workflow_sha": run.sha,
		"head_ref": run.headRef, "base_ref": run.baseRef, "event_name": run.event, "ref_type": refType(run.ref), "ref_protected": "false",
		"job_workflow_ref": j.calledPath, "job_workflow_sha": j.calledSHA, "runner_environment": j.machine(),
		"check_run_id": number(j.id),
	}
	if j.environmentName != "" {
		maps.Copy(claims, jwt.MapClaims{"environment": j.environmentName})
	}
	return claims
}

// subject is sub in its standard form, with the ids of owner and repository where the repository has that.
func (r *Repository) subject(j *job) string {
	repository := r.FullName()
	immutable := !r.created.Before(immutableSince)
	if chosen := r.actions.immutableSubject; chosen != nil {
		immutable = *chosen
	}
	if immutable {
		repository = fmt.Sprintf("%s@%d/%s@%d", r.owner.login, r.owner.id, r.name, r.id)
	}
	escape := func(text string) string { return strings.ReplaceAll(text, ":", "%3A") }
	switch {
	case j.environmentName != "":
		return "repo:" + repository + ":environment:" + escape(j.environmentName)
	case j.run.event == "pull_request":
		return "repo:" + repository + ":pull_request"
	default:
		return "repo:" + repository + ":ref:" + escape(j.run.ref)
	}
}

func writeJSON(w http.ResponseWriter, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "the sandbox cannot write its answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(raw) // when the caller is gone there is nobody to tell
}
