package sandbox

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

const (
	tokensPattern = "/app/installations/{installation_id}/access_tokens" //nolint:gosec // a path

	// Both lives are in https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
	tokenLife = time.Hour
	jwtLife   = 10 * time.Minute

	jwtSkew     = time.Minute // between the two clocks
	tokenBytes  = 90          // tokens have been longer than 40 characters since 2026
	limitWindow = time.Hour
)

// token is an installation token.
type token struct {
	installation *installation
	permissions  map[string]string
	repositories []*Repository // nil: all of the installation
	expires      time.Time
	job          *job // GITHUB_TOKEN of this job; nil for tokens of the App
}

// covers reports whether the token reaches a repository. The caller holds mu.
func (t *token) covers(r *Repository) bool {
	return slices.Contains(t.installation.repositories, r) && (t.repositories == nil || slices.Contains(t.repositories, r))
}

// may reports whether the token has a permission; write includes read.
func (t *token) may(key, level string) bool {
	has := t.permissions[key]
	return has == level || has == "write" || has == "admin"
}

// token finds a token that has not expired. The caller holds mu.
func (s *Sandbox) token(secret string) *token {
	t, ok := s.tokens[secret]
	if !ok || !s.now().Before(t.expires) {
		return nil
	}
	return t
}

// authorize checks credentials, then limits, then permissions. The reply is a refusal.
func (s *Sandbox) authorize(c *call, matched route) (*rateWindow, *reply) {
	kind, secret, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "bearer") && !strings.EqualFold(kind, "token") {
		secret = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	credential := "anonymous"
	switch {
	case matched.auth == asApp:
		if err := s.verifyJWT(secret); err != nil {
			p := problem(http.StatusUnauthorized, err.Error())
			return nil, &p
		}
		credential = "app"
	case s.token(secret) != nil:
		c.token = s.token(secret)
		credential = "installation " + strconv.FormatInt(c.token.installation.id, 10)
		if c.byJob() {
			credential = jobCredential + strconv.FormatInt(c.token.installation.id, 10)
		}
	case matched.auth != asAnybody || secret != "":
		p := problem(http.StatusUnauthorized, "Bad credentials")
		return nil, &p
	}
	resource := "core"
	if matched.pattern == "/graphql" {
		resource = "graphql"
	}
	window := s.window(credential, resource)
	if window.used >= window.limit {
		p := problem(http.StatusForbidden, "API rate limit exceeded for "+credential+".")
		return window, &p
	}
	if c.token != nil {
		if refused := c.token.installation.refuseSuspended(); refused != nil {
			return window, refused
		}
	}
	if refused := s.permit(c, matched); refused != nil {
		return window, refused
	}
	return window, s.overContent(c)
}

// permit finds the repository of the route and checks that the token may do this there. The caller holds mu.
func (s *Sandbox) permit(c *call, matched route) *reply {
	if name, ok := c.params["repo"]; ok {
		c.repository = s.find(c.params["owner"], name)
		hidden := c.repository == nil || c.token != nil && !c.token.covers(c.repository)
		if matched.auth == asApp {
			hidden = c.repository == nil || s.installed(c.repository) == nil
		}
		if hidden {
			p := notFound()
			return &p
		}
	}
	if len(matched.accepted) == 0 || c.token == nil {
		return nil
	}
	for _, p := range matched.accepted {
		if c.token.may(p.key, p.level) {
			return nil
		}
	}
	// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
	p := problem(http.StatusForbidden, "Resource not accessible by integration")
	return &p
}

// verifyJWT checks the App's own token the way GitHub does, in GitHub's words.
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func (s *Sandbox) verifyJWT(secret string) error {
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(secret, &claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil })
	now := s.now()
	switch {
	case err != nil:
		return errors.New("A JSON web token could not be decoded") //nolint:staticcheck // GitHub's words
	case claims.Issuer != strconv.Itoa(appID):
		return errors.New("'Issuer' claim ('iss') must be an Integer")
	case claims.IssuedAt == nil || claims.IssuedAt.After(now.Add(jwtSkew)):
		return errors.New("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	case claims.ExpiresAt == nil || !now.Before(claims.ExpiresAt.Time):
		return errors.New("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case claims.ExpiresAt.After(now.Add(jwtLife + jwtSkew)):
		return errors.New("'Expiration time' claim ('exp') is too far in the future")
	}
	return nil
}

type tokenRequest struct {
	Repositories  []string          `json:"repositories"`
	RepositoryIDs []int64           `json:"repository_ids"`
	Permissions   map[string]string `json:"permissions"`
}

// createToken hands out an installation token, narrowed as asked.
func createToken(c *call) reply {
	s := c.sandbox
	asked, refused := decode[tokenRequest](c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.installationByID(c.id("installation_id"))
	if i == nil {
		return notFound()
	}
	if refused := i.refuseSuspended(); refused != nil {
		return *refused
	}
	t := &token{installation: i, permissions: maps.Clone(s.permissions), expires: s.now().Add(tokenLife)}
	if len(asked.Permissions) > 0 {
		for key, level := range asked.Permissions {
			if !t.may(key, level) {
				return problem(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			}
		}
		t.permissions = asked.Permissions
	}
	for _, r := range i.repositories {
		if slices.Contains(asked.RepositoryIDs, r.id) || slices.Contains(asked.Repositories, r.name) {
			t.repositories = append(t.repositories, r)
		}
	}
	if len(t.repositories) != len(asked.Repositories)+len(asked.RepositoryIDs) {
		return problem(http.StatusUnprocessableEntity,
			"There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	secret := newToken()
	s.tokens[secret] = t
	return reply{status: http.StatusCreated, body: object{
		"token": secret, "expires_at": stamp(t.expires), "permissions": t.permissions, "repository_selection": "selected",
	}}
}

// revokeToken ends the token that it is asked with.
func revokeToken(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.tokens, func(_ string, t *token) bool { return t == c.token })
	return reply{status: http.StatusNoContent}
}

func newToken() string {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("ghs_%d_%s", appID, base64.RawURLEncoding.EncodeToString(b[:]))
}

func (st *state) installationByID(id int64) *installation {
	for _, i := range st.installations {
		if i.id == id {
			return i
		}
	}
	return nil
}

// rateWindow counts the calls of one credential in one hour, REST and GraphQL apart.
type rateWindow struct {
	resource    string
	limit, used int
	reset       time.Time
}

// window is the present window of a credential. The caller holds mu.
func (s *Sandbox) window(credential, resource string) *rateWindow {
	w, ok := s.limits[credential+" "+resource]
	if !ok || !s.now().Before(w.reset) {
		w = &rateWindow{resource: resource, limit: s.rateLimit, reset: s.now().Add(limitWindow)}
		if strings.HasPrefix(credential, jobCredential) {
			w.limit = jobRateLimit
		}
		s.limits[credential+" "+resource] = w
	}
	return w
}

// spend counts a call and says in headers what is left. Without a window there is nothing to say.
func (w *rateWindow) spend(counted bool) http.Header {
	if w == nil {
		return nil
	}
	if counted && w.used < w.limit {
		w.used++
	}
	return http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(w.limit)},
		"X-Ratelimit-Remaining": {strconv.Itoa(w.limit - w.used)},
		"X-Ratelimit-Used":      {strconv.Itoa(w.used)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(w.reset.Unix(), 10)},
		"X-Ratelimit-Resource":  {w.resource},
	}
}
