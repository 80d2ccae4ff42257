package sandbox_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/sandbox"
)

const repoPath = "/repos/acme/network"

func TestTheAppsOwnTokenIsVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := newWorld(t)
	now := w.clock.Now()
	until := func(d time.Duration) func(*jwt.RegisteredClaims) {
		return func(c *jwt.RegisteredClaims) { c.ExpiresAt = jwt.NewNumericDate(now.Add(d)) }
	}
	future := func(c *jwt.RegisteredClaims) { c.IssuedAt = jwt.NewNumericDate(now.Add(time.Hour)) }
	tests := map[string]struct {
		key    []byte
		change func(*jwt.RegisteredClaims)
		status int
	}{
		"a good one":              {w.PrivateKey(), nil, http.StatusOK},
		"one of another App":      {other.PrivateKey(), nil, http.StatusUnauthorized},
		"an expired one":          {w.PrivateKey(), until(-time.Second), http.StatusUnauthorized},
		"one without an end":      {w.PrivateKey(), func(c *jwt.RegisteredClaims) { c.ExpiresAt = nil }, http.StatusUnauthorized},
		"one that lasts too long": {w.PrivateKey(), until(time.Hour), http.StatusUnauthorized},
		"one from the future":     {w.PrivateKey(), future, http.StatusUnauthorized},
		"one without a beginning": {w.PrivateKey(), func(c *jwt.RegisteredClaims) { c.IssuedAt = nil }, http.StatusUnauthorized},
		"one of another issuer":   {w.PrivateKey(), func(c *jwt.RegisteredClaims) { c.Issuer = "1" }, http.StatusUnauthorized},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			if a := w.call(w.jwt(tt.key, tt.change), http.MethodGet, "/app", nil); a.status != tt.status {
				t.Errorf("expected %d, actual %d: %s", tt.status, a.status, a.raw)
			}
		})
	}
	t.Run("one that is not signed", func(t *testing.T) {
		w := w.in(t)
		claims := jwt.RegisteredClaims{
			Issuer: strconv.FormatInt(w.AppID(), 10), IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		}
		unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
		w.must(err)
		if a := w.call(unsigned, http.MethodGet, "/app", nil); a.status != http.StatusUnauthorized {
			t.Errorf("expected 401, actual %d", a.status)
		}
	})
	t.Run("one with another algorithm", func(t *testing.T) {
		w := w.in(t)
		claims := jwt.RegisteredClaims{
			Issuer: strconv.FormatInt(w.AppID(), 10), IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		}
		key, err := jwt.ParseRSAPrivateKeyFromPEM(w.PrivateKey())
		w.must(err)
		signed, err := jwt.NewWithClaims(jwt.SigningMethodRS512, claims).SignedString(key)
		w.must(err)
		if a := w.call(signed, http.MethodGet, "/app", nil); a.status != http.StatusUnauthorized {
			t.Errorf("expected 401, actual %d", a.status)
		}
	})
	t.Run("an installation token is none", func(t *testing.T) {
		w := w.in(t)
		if a := w.get("/app"); a.status != http.StatusUnauthorized {
			t.Errorf("expected 401, actual %d", a.status)
		}
	})
}

func TestTokensEndAndAreNarrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sha := w.repo.Branches()["main"]
	check := map[string]any{"name": "x", "head_sha": sha}

	t.Run("a token ends after an hour", func(t *testing.T) {
		w := w.in(t)
		other := newWorld(t)
		other.want(http.StatusOK, http.MethodGet, repoPath, nil)
		other.clock.advance(time.Hour)
		other.want(http.StatusUnauthorized, http.MethodGet, repoPath, nil)
		w.want(http.StatusOK, http.MethodGet, repoPath, nil)
	})
	t.Run("a missing permission is named", func(t *testing.T) {
		w := w.in(t)
		weak := w.newToken(map[string]any{"permissions": map[string]string{"checks": "read", "metadata": "read"}})
		a := w.call(weak, http.MethodPost, repoPath+"/check-runs", check)
		if a.status != http.StatusForbidden || a.header.Get("X-Accepted-GitHub-Permissions") != "checks=write" {
			t.Errorf("%d, accepted %q", a.status, a.header.Get("X-Accepted-GitHub-Permissions"))
		}
		a = w.call(weak, http.MethodGet, repoPath+"/issues/1/comments", nil)
		if a.status != http.StatusForbidden || a.header.Get("X-Accepted-GitHub-Permissions") != "issues=read; pull_requests=read" {
			t.Errorf("%d, accepted %q", a.status, a.header.Get("X-Accepted-GitHub-Permissions"))
		}
		if a := w.call(weak, http.MethodGet, repoPath+"/commits/main/check-runs", nil); a.status != http.StatusOK {
			t.Errorf("read is refused: %d", a.status)
		}
	})
	t.Run("what the App was not granted cannot be asked for", func(t *testing.T) {
		w := w.in(t)
		path := fmt.Sprintf("/app/installations/%d/access_tokens", w.installation())
		a := w.call(w.jwt(w.PrivateKey(), nil), http.MethodPost, path, map[string]any{"permissions": map[string]string{"contents": "write"}})
		if a.status != http.StatusUnprocessableEntity {
			t.Errorf("expected 422, actual %d", a.status)
		}
	})
	t.Run("a repository without the App is not found", func(t *testing.T) {
		w := w.in(t)
		_, err := w.CreateRepository(w.ctx, "acme", "secret", sandbox.Seed{Branches: []sandbox.SeedBranch{{Name: "main"}}})
		w.must(err)
		w.want(http.StatusNotFound, http.MethodGet, "/repos/acme/secret", nil)
	})
	t.Run("tokens end with the installation", func(t *testing.T) {
		other := newWorld(t)
		other.must(other.Uninstall(other.ctx, "acme"))
		other.want(http.StatusUnauthorized, http.MethodGet, repoPath, nil)
		other.hooked("installation", 2)
	})
}

func (w *world) installation() int64 {
	w.t.Helper()
	o := w.call(w.jwt(w.PrivateKey(), nil), http.MethodGet, repoPath+"/installation", nil).object()
	return int64(o["id"].(float64))
}

func TestAnswersThatDidNotChangeAreFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.get(repoPath)
	tag := first.header.Get("ETag")
	again := w.get(repoPath, "If-None-Match: "+tag)
	if again.status != http.StatusNotModified || len(again.raw) != 0 {
		t.Fatalf("expected 304 without a body, actual %d", again.status)
	}
	if first.header.Get("X-RateLimit-Used") != again.header.Get("X-RateLimit-Used") {
		t.Errorf("a 304 was counted: %s, %s", first.header.Get("X-RateLimit-Used"), again.header.Get("X-RateLimit-Used"))
	}
	if got := w.Calls()["GET /repos/{owner}/{repo}"]; got != 1 {
		t.Errorf("calls: %d", got)
	}
	w.open("feature/a", "main", "a", "a")
	if a := w.get(repoPath, "If-None-Match: "+tag); a.status != http.StatusOK {
		t.Errorf("expected 200 after a change, actual %d", a.status)
	}
}

func TestListsHavePagesAndLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	for i := range 7 {
		_, err := w.repo.Comment(w.ctx, "ana", number, fmt.Sprint("comment ", i))
		w.must(err)
	}
	path := repoPath + "/issues/1/comments?per_page=3"
	var bodies []string
	for range 3 {
		a := w.get(path)
		for _, c := range a.list() {
			bodies = append(bodies, c["body"].(string))
		}
		path = next(a.header.Get("Link"), w.APIURL())
	}
	if len(bodies) != 7 || bodies[6] != "comment 6" || path != "" {
		t.Errorf("comments: %v, then %q", bodies, path)
	}
	a := w.get(repoPath + "/issues/1/comments?per_page=3&page=2")
	for _, rel := range []string{"first", "prev", "next", "last"} {
		if !strings.Contains(a.header.Get("Link"), `rel="`+rel+`"`) {
			t.Errorf("Link lacks %s: %s", rel, a.header.Get("Link"))
		}
	}
}

func next(link, prefix string) string {
	for part := range strings.SplitSeq(link, ", ") {
		if address, ok := strings.CutSuffix(part, `>; rel="next"`); ok {
			return strings.TrimPrefix(address, "<"+prefix)
		}
	}
	return ""
}

func TestWhatIsNotServedIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *sandbox.Options) { o.Observe = nil })
	for _, path := range []string{"/repos/acme/network/stargazers", "/zen", "/repos/acme/network/branches/$(id)"} {
		if a := w.get(path); a.status != http.StatusNotImplemented || !strings.Contains(string(a.raw), path) {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	w.want(http.StatusNotImplemented, http.MethodPost, "/graphql", map[string]any{"query": "query { viewer { login } }"})
	want := []string{
		"GET /api/v3/repos/acme/network/branches/$(id)", "GET /api/v3/repos/acme/network/stargazers", "GET /api/v3/zen",
		"POST /api/graphql query viewer",
	}
	if diff := cmp.Diff(want, w.Unserved()); diff != "" {
		t.Errorf("unserved (-expected +actual):\n%s", diff)
	}
}

func TestCommentsAreWrittenEditedAndMinimized(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	made := w.want(http.StatusCreated, http.MethodPost, repoPath+"/issues/1/comments", map[string]any{"body": "first\nmore"}).object()
	id := fmt.Sprintf("%.0f", made["id"])
	w.want(http.StatusOK, http.MethodPatch, repoPath+"/issues/comments/"+id, map[string]any{"body": "second"})
	w.want(http.StatusOK, http.MethodPatch, repoPath+"/issues/comments/"+id, map[string]any{"body": "third"})
	w.want(http.StatusOK, http.MethodGet, repoPath+"/issues/comments/"+id, nil)
	w.want(http.StatusCreated, http.MethodPost, repoPath+"/issues/comments/"+id+"/reactions", map[string]any{"content": "eyes"})
	w.want(http.StatusOK, http.MethodPost, repoPath+"/issues/comments/"+id+"/reactions", map[string]any{"content": "eyes"})
	w.want(http.StatusOK, http.MethodGet, repoPath+"/issues/comments/"+id+"/reactions", nil)
	mutation := `mutation($input: MinimizeCommentInput!) { minimizeComment(input: $input) { minimizedComment { isMinimized } } }`
	a := w.want(http.StatusOK, http.MethodPost, "/graphql", map[string]any{
		"query": mutation, "variables": map[string]any{"input": map[string]any{"subjectId": made["node_id"], "classifier": "OUTDATED"}},
	})
	if a.header.Get("X-RateLimit-Resource") != "graphql" || a.header.Get("X-RateLimit-Used") != "1" {
		t.Errorf("GraphQL shares the limit of REST: %v", a.header)
	}
	if got := strings.TrimSpace(string(a.raw)); got != `{"data":{"minimizeComment":{"minimizedComment":{"isMinimized":true}}}}` {
		t.Errorf("answer: %s", got)
	}
	c := w.pull(number).Comments[0]
	defer func() {
		query := fmt.Sprintf(`mutation { unminimizeComment(input: {subjectId: "%s"}) { unminimizedComment { isMinimized minimizedReason } } }`, made["node_id"])
		a := w.want(http.StatusOK, http.MethodPost, "/graphql", map[string]any{"query": query})
		want := `{"data":{"unminimizeComment":{"unminimizedComment":{"isMinimized":false,"minimizedReason":null}}}}`
		if got := strings.TrimSpace(string(a.raw)); got != want || w.pull(number).Comments[0].Minimized {
			t.Errorf("it is not unfolded: %s", got)
		}
	}()
	if c.Body != "third" || c.Edits != 2 || !c.Minimized || c.MinimizedReason != "outdated" || c.Reactions["eyes"] != 1 || !c.Bot {
		t.Errorf("comment: %+v", c)
	}
	want := []string{
		"POST /repos/acme/network/issues/1/comments first", "PATCH /repos/acme/network/issues/comments/" + id + " second",
		"PATCH /repos/acme/network/issues/comments/" + id + " third",
		"POST /repos/acme/network/issues/comments/" + id + "/reactions eyes", "POST /graphql minimizeComment OUTDATED",
	}
	if diff := cmp.Diff(want, w.Effects()); diff != "" {
		t.Errorf("effects (-expected +actual):\n%s", diff)
	}
	edited := w.hooked("issue_comment", 3)[2].payload
	changes, _ := edited["changes"].(map[string]any)
	if body, _ := changes["body"].(map[string]any); body["from"] != "second" {
		t.Errorf("changes: %v", changes)
	}
	if sender, _ := edited["sender"].(map[string]any); sender["type"] != "Bot" || sender["login"] != "switchyard[bot]" {
		t.Errorf("sender: %v", sender)
	}
}

func TestMinimizingIsRefusedInGitHubsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	_, err := w.repo.Comment(w.ctx, "ana", number, "hello")
	w.must(err)
	node := w.pull(number).Comments[0].NodeID
	minimize := func(subject, classifier string) string {
		return `mutation { minimizeComment(input: {subjectId: "` + subject + `", classifier: ` + classifier + `}) { clientMutationId } }`
	}
	tests := map[string]struct{ query, want string }{
		"an unknown comment":     {minimize("IC_x", "OUTDATED"), "NOT_FOUND"},
		"an unknown classifier":  {minimize(node, "BORING"), "INVALID"},
		"no input":               {`mutation { minimizeComment { clientMutationId } }`, "INVALID"},
		"a text that ends early": {`mutation { minimizeComment(input: {`, "PARSE_ERROR"},
		"a text without end":     {"mutation " + strings.Repeat("{a", 1000), "PARSE_ERROR"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			a := w.want(http.StatusOK, http.MethodPost, "/graphql", map[string]any{"query": tt.query})
			if !strings.Contains(string(a.raw), `"type":"`+tt.want+`"`) {
				t.Errorf("expected %s, actual %s", tt.want, a.raw)
			}
		})
	}
	t.Run("input in the text is read too", func(t *testing.T) {
		w := w.in(t)
		query := `mutation { m: minimizeComment(input: {subjectId: "` + node + `", classifier: OFF_TOPIC})` +
			` { minimizedComment { ... on Node { id } reason: minimizedReason } } }`
		a := w.want(http.StatusOK, http.MethodPost, "/graphql", map[string]any{"query": query})
		if want := `{"data":{"m":{"minimizedComment":{"id":"` + node + `","reason":"off-topic"}}}}`; string(a.raw) != want {
			t.Errorf("expected %s, actual %s", want, a.raw)
		}
	})
}

func TestGitHubsLimitsAreKept(t *testing.T) {
	t.Parallel()
	// The requests break the limits on purpose, so they are not held to the description.
	w := newWorld(t, func(o *sandbox.Options) { o.Observe = nil })
	w.open("feature/a", "develop", "a.tf", "# a\n")
	sha := w.repo.Branches()["feature/a"]
	text := func(n int) string { return strings.Repeat("ä", n) }
	output := func(summary, body string) map[string]any {
		return map[string]any{"name": "x", "head_sha": sha, "output": map[string]any{"title": "t", "summary": summary, "text": body}}
	}
	actions := func(n int, label, description, identifier string) map[string]any {
		list := slices.Repeat([]any{map[string]any{"label": label, "description": description, "identifier": identifier}}, n)
		return map[string]any{"name": "x", "head_sha": sha, "actions": list}
	}
	titled := map[string]any{"name": "x", "head_sha": sha, "output": map[string]any{"title": "t"}}
	plain := map[string]any{"ref": "main", "auto_merge": false, "required_contexts": []string{}}
	tests := map[string]struct {
		path   string
		body   any
		status int
	}{
		"a comment of 65,536 characters":        {"/issues/1/comments", map[string]any{"body": text(65_536)}, 201},
		"a comment of 65,537 characters":        {"/issues/1/comments", map[string]any{"body": text(65_537)}, 422},
		"an empty comment":                      {"/issues/1/comments", map[string]any{"body": " \n"}, 422},
		"a comment without body":                {"/issues/1/comments", map[string]any{}, 422},
		"a comment whose body is a number":      {"/issues/1/comments", map[string]any{"body": 7}, 422},
		"a comment on nothing":                  {"/issues/9/comments", map[string]any{"body": "x"}, 404},
		"a check with 65,535 characters":        {"/check-runs", output(text(65_535), text(65_535)), 201},
		"a check with a longer summary":         {"/check-runs", output(text(65_536), ""), 422},
		"a check with a longer text":            {"/check-runs", output("s", text(65_536)), 422},
		"a check without summary":               {"/check-runs", titled, 422},
		"a check of an unknown commit":          {"/check-runs", map[string]any{"name": "x", "head_sha": strings.Repeat("a", 40)}, 422},
		"a check of a branch":                   {"/check-runs", map[string]any{"name": "x", "head_sha": "main"}, 422},
		"a check that ended without conclusion": {"/check-runs", map[string]any{"name": "x", "head_sha": sha, "status": "completed"}, 422},
		"a check with an unknown conclusion":    {"/check-runs", map[string]any{"name": "x", "head_sha": sha, "conclusion": "fine"}, 422},
		"a check with three buttons":            {"/check-runs", actions(3, text(20), text(40), text(20)), 201},
		"a check with four buttons":             {"/check-runs", actions(4, "l", "d", "i"), 422},
		"a button with a long label":            {"/check-runs", actions(1, text(21), "d", "i"), 422},
		"a button with a long description":      {"/check-runs", actions(1, "l", text(41), "i"), 422},
		"a button with a long identifier":       {"/check-runs", actions(1, "l", "d", text(21)), 422},
		"a deployment of a branch":              {"/deployments", plain, 201},
		"a deployment of nothing":               {"/deployments", map[string]any{"ref": "nothing"}, 422},
		"a deployment of an option":             {"/deployments", map[string]any{"ref": "--all"}, 422},
		"a deployment with a long description":  {"/deployments", map[string]any{"ref": "main", "description": text(141)}, 422},
		"an unknown reaction":                   {"/issues/comments/1/reactions", map[string]any{"content": "tada"}, 422},
		"an issue without title":                {"/issues", map[string]any{"body": "x"}, 422},
		"a label":                               {"/labels", map[string]any{"name": "drift"}, 201},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.want(tt.status, http.MethodPost, repoPath+tt.path, tt.body)
		})
	}
	t.Run("broken JSON is 400", func(t *testing.T) {
		w := w.in(t)
		request, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.APIURL()+repoPath+"/issues", strings.NewReader("{"))
		w.must(err)
		request.Header.Set("Authorization", "token "+w.token)
		response, err := http.DefaultClient.Do(request)
		w.must(err)
		w.must(response.Body.Close())
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("expected 400, actual %d", response.StatusCode)
		}
	})
}

func TestChecksAreShownAndTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	sha := w.pull(number).Head.SHA
	made := w.want(http.StatusCreated, http.MethodPost, repoPath+"/check-runs", map[string]any{
		"name": "switchyard / plan (dev)", "head_sha": sha, "status": "in_progress", "external_id": "7",
	}).object()
	id := int64(made["id"].(float64))
	if pulls, _ := made["pull_requests"].([]any); len(pulls) != 1 {
		t.Errorf("pull requests of the check: %v", pulls)
	}
	path := fmt.Sprintf("%s/check-runs/%d", repoPath, id)
	w.want(http.StatusOK, http.MethodPatch, path, map[string]any{
		"name": "switchyard / plan (dev)", "status": "completed", "conclusion": "success",
		"output":  map[string]any{"title": "2 to add", "summary": "s", "text": "t"},
		"actions": []any{map[string]any{"label": "Plan again", "description": "d", "identifier": "plan"}},
	})
	w.want(http.StatusOK, http.MethodGet, path, nil)
	w.want(http.StatusCreated, http.MethodPost, repoPath+"/check-runs", map[string]any{
		"name": "switchyard / gitflow", "head_sha": sha, "conclusion": "neutral", "status": "completed",
	})
	listed := w.get(repoPath + "/commits/feature%2Fa/check-runs").object()
	if listed["total_count"] != float64(2) {
		t.Errorf("checks of the branch: %v", listed["total_count"])
	}
	checks := w.pull(number).Checks
	if len(checks) != 2 || checks[1].Conclusion != "success" || checks[1].Title != "2 to add" || checks[1].Updates != 1 {
		t.Errorf("checks: %+v", checks)
	}
	w.must(w.repo.RerequestCheck(w.ctx, "ana", id))
	w.must(w.repo.ClickCheckAction(w.ctx, "ana", id, "plan"))
	if err := w.repo.ClickCheckAction(w.ctx, "ana", id, "other"); err == nil {
		t.Error("a button was clicked that is not there")
	}
	want := []string{
		"installation created", "push", "pull_request opened", "check_run created", "check_run completed", "check_run created",
		"check_run completed", "check_run rerequested", "check_run requested_action",
	}
	if diff := cmp.Diff(want, w.events()); diff != "" {
		t.Errorf("webhooks (-expected +actual):\n%s", diff)
	}
	if got := w.Effects()[1]; got != fmt.Sprintf("PATCH /repos/acme/network/check-runs/%d switchyard / plan (dev): success", id) {
		t.Errorf("effect: %s", got)
	}
}

func TestDeploymentsKeepGitHubsTraps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.repo.Push(w.ctx, "ana", "main", map[string]string{"m": "m"}, "Ahead")
	w.must(err)
	sha := w.repo.Branches()["develop"]
	deploy := func(w *world, body map[string]any) answer {
		maps.Copy(body, map[string]any{"environment": "dev"})
		return w.call(w.token, http.MethodPost, repoPath+"/deployments", body)
	}
	t.Run("a branch behind the default branch is merged first", func(t *testing.T) {
		w := w.in(t)
		if a := deploy(w, map[string]any{"ref": "develop"}); a.status != http.StatusAccepted {
			t.Errorf("expected 202, actual %d", a.status)
		}
	})
	t.Run("every check has to be green", func(t *testing.T) {
		w := w.in(t)
		w.want(http.StatusCreated, http.MethodPost, repoPath+"/check-runs", map[string]any{"name": "x", "head_sha": sha})
		if a := deploy(w, map[string]any{"ref": sha}); a.status != http.StatusConflict {
			t.Errorf("expected 409, actual %d", a.status)
		}
	})
	t.Run("a new success makes the earlier one inactive", func(t *testing.T) {
		w := w.in(t)
		var ids []string
		for range 2 {
			a := deploy(w, map[string]any{"ref": sha, "auto_merge": false, "required_contexts": []string{}, "payload": map[string]any{"a": 1}})
			id := fmt.Sprintf("%.0f", a.object()["id"])
			ids = append(ids, id)
			for _, state := range []string{"in_progress", "success"} {
				w.want(http.StatusCreated, http.MethodPost, repoPath+"/deployments/"+id+"/statuses", map[string]any{"state": state, "description": "d"})
			}
		}
		deployments := w.repo.Deployments("dev")
		states := func(d sandbox.Deployment) (all []string) {
			for _, s := range d.States {
				all = append(all, s.State)
			}
			return all
		}
		want := [][]string{{"in_progress", "success"}, {"in_progress", "success", "inactive"}}
		if diff := cmp.Diff(want, [][]string{states(deployments[0]), states(deployments[1])}); diff != "" {
			t.Errorf("states (-expected +actual):\n%s", diff)
		}
		if l := w.get(repoPath + "/deployments?environment=dev&sha=" + sha).list(); len(l) != 2 {
			t.Errorf("listed: %d", len(l))
		}
		if l := w.get(repoPath + "/deployments/" + ids[0] + "/statuses").list(); len(l) != 3 || l[0]["state"] != "inactive" {
			t.Errorf("statuses: %v", l)
		}
	})
}

func TestPermissionsAndTeamsAreAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for login, want := range map[string][]any{
		"ana": {"write", "maintain"}, "ben": {"write", "write"}, "eve": {"read", "read"}, "EVE": {"read", "read"},
	} {
		o := w.get(repoPath + "/collaborators/" + login + "/permission").object()
		if diff := cmp.Diff(want, []any{o["permission"], o["role_name"]}); diff != "" {
			t.Errorf("%s (-expected +actual):\n%s", login, diff)
		}
	}
	w.want(http.StatusNotFound, http.MethodGet, repoPath+"/collaborators/nobody/permission", nil)
	w.want(http.StatusOK, http.MethodGet, "/orgs/acme/teams/sre/memberships/ana", nil)
	w.want(http.StatusNotFound, http.MethodGet, "/orgs/acme/teams/sre/memberships/eve", nil)
	w.want(http.StatusOK, http.MethodGet, "/users/ana", nil)
	w.want(http.StatusOK, http.MethodGet, "/installation/repositories", nil)
	w.want(http.StatusOK, http.MethodGet, "/rate_limit", nil)
}

func TestContentsAreRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want(http.StatusOK, http.MethodGet, repoPath+"/contents/README.md", nil)
	if l := w.get(repoPath + "/contents/src/terraform?ref=develop").list(); len(l) != 1 || l[0]["path"] != "src/terraform/main.tf" {
		t.Errorf("directory: %v", l)
	}
	for _, path := range []string{"/nothing", "/..%2Fx", "/README.md?ref=nothing", "/README.md?ref=--all", "/:(glob)**"} {
		w.want(http.StatusNotFound, http.MethodGet, repoPath+"/contents"+path, nil)
	}
}

func TestIssuesAndLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.want(http.StatusCreated, http.MethodPost, repoPath+"/issues", map[string]any{
		"title": "Drift in prod", "body": "b", "labels": []string{"drift", "prod"},
	}).object()
	w.open("feature/a", "develop", "a.tf", "# a\n")
	if o["number"] != float64(1) || w.pull(2).Number != 2 {
		t.Errorf("numbers are not shared: %v", o["number"])
	}
	w.want(http.StatusOK, http.MethodPost, repoPath+"/issues/2/labels", map[string]any{"labels": []string{"Drift"}})
	if got := w.pull(2).Labels; !cmp.Equal(got, []string{"drift"}) {
		t.Errorf("labels: %v", got)
	}
	w.want(http.StatusOK, http.MethodGet, repoPath+"/issues/2/labels", nil)
	w.want(http.StatusOK, http.MethodDelete, repoPath+"/issues/2/labels/drift", nil)
	w.want(http.StatusCreated, http.MethodPost, repoPath+"/labels", map[string]any{"name": "new", "color": "ff0000"})
	w.want(http.StatusUnprocessableEntity, http.MethodPost, repoPath+"/labels", map[string]any{"name": "NEW"})
	if l := w.get(repoPath + "/labels").list(); len(l) != 3 {
		t.Errorf("labels: %v", l)
	}
	if l := w.get(repoPath + "/issues?labels=drift,prod").list(); len(l) != 1 {
		t.Errorf("issues with both labels: %d", len(l))
	}
	w.want(http.StatusOK, http.MethodPatch, repoPath+"/issues/1", map[string]any{"state": "closed", "body": "c"})
	w.want(http.StatusOK, http.MethodGet, repoPath+"/issues/1", nil)
	if i, _ := w.repo.Issue(1); i.State != "closed" || i.Body != "c" || i.Author != "switchyard[bot]" {
		t.Errorf("issue: %+v", i)
	}
	if l := w.get(repoPath + "/issues?state=all").list(); len(l) != 2 || l[0]["pull_request"] == nil {
		t.Errorf("issues: %d", len(l))
	}
	w.repo.SetIssues(false)
	w.want(http.StatusGone, http.MethodPost, repoPath+"/issues", map[string]any{"title": "Drift in prod"})
	if _, err := w.repo.OpenIssue(t.Context(), "ana", "Drift in prod", ""); err == nil {
		t.Error("a person opened an issue where there are none")
	}
	if l := w.get(repoPath + "/issues?state=all").list(); len(l) != 1 || l[0]["pull_request"] == nil {
		t.Errorf("issues where they are switched off: %d", len(l))
	}
	w.want(http.StatusCreated, http.MethodPost, repoPath+"/issues/2/comments", map[string]any{"body": "b"})
}

func TestRateLimitsAreCountedAndEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *sandbox.Options) { o.RateLimit = 3 })
	for left := 2; left >= 0; left-- {
		if a := w.get(repoPath); a.status != http.StatusOK || a.header.Get("X-RateLimit-Remaining") != strconv.Itoa(left) {
			t.Fatalf("%d, remaining %s", a.status, a.header.Get("X-RateLimit-Remaining"))
		}
	}
	if a := w.get(repoPath); a.status != http.StatusForbidden || !strings.Contains(string(a.raw), "rate limit exceeded") {
		t.Fatalf("expected 403, actual %d: %s", a.status, a.raw)
	}
}

func TestFaultsComeWhenAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	comment := map[string]any{"body": "x"}
	w.SetFaultShare(1)
	w.want(http.StatusBadGateway, http.MethodPost, repoPath+"/issues/1/comments", comment)
	if n := len(w.pull(number).Comments); n != 0 {
		t.Errorf("a faulty call wrote %d comments", n)
	}
	w.SetFaultShare(0)
	w.SetLostShare(1)
	w.want(http.StatusBadGateway, http.MethodPost, repoPath+"/issues/1/comments", comment)
	if n := len(w.pull(number).Comments); n != 1 {
		t.Errorf("a call whose answer is lost wrote %d comments", n)
	}
	w.SetLostShare(0)
	w.SetLatency(time.Millisecond)
	w.want(http.StatusCreated, http.MethodPost, repoPath+"/issues/1/comments", comment)
}

func TestWebhooksAreSignedKeptAndSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.repo.Push(w.ctx, "ana", "develop", map[string]string{"a": "1"}, "One")
	w.must(err)
	first := w.hooked("push", 1)[0]
	for _, h := range w.settled() {
		if !h.valid {
			t.Errorf("the signature of %s is wrong", h.event)
		}
	}
	var id int64
	for _, d := range w.Deliveries() {
		if d.Event == "push" {
			id = d.ID
		}
	}
	app := w.jwt(w.PrivateKey(), nil)
	path := fmt.Sprintf("/app/hook/deliveries/%d/attempts", id)
	if a := w.call(app, http.MethodPost, path, nil); a.status != http.StatusAccepted {
		t.Fatalf("expected 202, actual %d: %s", a.status, a.raw)
	}
	again := w.hooked("push", 2)[1]
	if again.guid != first.guid || !again.valid || first.guid == "" {
		t.Errorf("GUID: expected %s, actual %s", first.guid, again.guid)
	}
	w.must(w.Await(w.ctx, func() bool {
		return slices.ContainsFunc(w.Deliveries(), func(d sandbox.Delivery) bool { return d.Redelivery && d.GUID == first.guid })
	}))
	if err := w.Redeliver(1); err == nil {
		t.Error("an unknown delivery was sent again")
	}
}

func TestFailedDeliveriesCanBeFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settled()
	w.hooks.mu.Lock()
	w.hooks.status = http.StatusInternalServerError
	w.hooks.mu.Unlock()
	for i := range 3 {
		_, err := w.repo.Push(w.ctx, "ana", "develop", map[string]string{"a": strconv.Itoa(i)}, "One")
		w.must(err)
	}
	w.must(w.Await(w.ctx, func() bool { return w.Deliveries()[len(w.Deliveries())-1].Event == "push" && len(w.Deliveries()) >= 5 }))
	w.SetWebhookURL("http://127.0.0.1:1/")
	w.must(w.Ping(w.ctx))
	w.must(w.Await(w.ctx, func() bool { return w.Deliveries()[len(w.Deliveries())-1].StatusCode == http.StatusBadGateway }))

	app := w.jwt(w.PrivateKey(), nil)
	var codes []float64
	path := "/app/hook/deliveries?status=failure&per_page=2"
	for path != "" {
		a := w.call(app, http.MethodGet, path, nil)
		for _, d := range a.list() {
			codes = append(codes, d["status_code"].(float64))
		}
		path = next(a.header.Get("Link"), w.APIURL())
	}
	if diff := cmp.Diff([]float64{502, 500, 500, 500}, codes); diff != "" {
		t.Errorf("failed deliveries (-expected +actual):\n%s", diff)
	}
}

func TestTheSandboxListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0", "example.org:0", "nonsense"} {
		if s, err := sandbox.Start(t.Context(), sandbox.Options{Dir: t.TempDir(), Addr: addr}); err == nil {
			t.Errorf("%s: started at %s", addr, s.URL())
			_ = s.Close()
		}
	}
}

// The clients are those that Switchyard uses: they make their own tokens and read every answer.
func TestTheRealClientsAreServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	transport, err := ghinstallation.New(http.DefaultTransport, w.AppID(), w.installation(), w.PrivateKey())
	w.must(err)
	transport.BaseURL = w.APIURL()
	client, err := github.NewClient(&http.Client{Transport: transport}).WithEnterpriseURLs(w.URL(), w.URL())
	w.must(err)

	pull, _, err := client.PullRequests.Get(w.ctx, "acme", "network", number)
	w.must(err)
	if pull.GetHead().GetSHA() != w.pull(number).Head.SHA || !pull.GetMergeable() {
		t.Errorf("pull request: %v", pull)
	}
	comment, _, err := client.Issues.CreateComment(w.ctx, "acme", "network", number, &github.IssueComment{Body: new("hi")})
	w.must(err)
	_, _, err = client.Reactions.CreateIssueCommentReaction(w.ctx, "acme", "network", comment.GetID(), "rocket")
	w.must(err)
	run, _, err := client.Checks.CreateCheckRun(w.ctx, "acme", "network", github.CreateCheckRunOptions{
		Name: "x", HeadSHA: pull.GetHead().GetSHA(), Status: new("queued"),
	})
	w.must(err)
	_, _, err = client.Checks.UpdateCheckRun(w.ctx, "acme", "network", run.GetID(), github.UpdateCheckRunOptions{
		Name: "x", Status: new("completed"), Conclusion: new("success"),
	})
	w.must(err)
	at := &github.RepositoryContentGetOptions{Ref: "develop"}
	file, _, _, err := client.Repositories.GetContents(w.ctx, "acme", "network", "README.md", at)
	w.must(err)
	if text, err := file.GetContent(); err != nil || text != "# network\n" {
		t.Errorf("README.md: %q %v", text, err)
	}
	if w.Calls()["POST /repos/{owner}/{repo}/check-runs"] != 1 {
		t.Errorf("calls: %v", w.Calls())
	}
	if len(w.Unserved()) != 0 {
		t.Errorf("unserved: %v", w.Unserved())
	}
}

func TestManyActAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	const each = 5
	done := make(chan error)
	work := []func(i int) error{
		func(i int) error {
			_, err := w.repo.Push(w.ctx, "ana", "feature/a", map[string]string{"a": strconv.Itoa(i)}, "Push")
			return err
		},
		func(i int) error {
			_, err := w.repo.Push(w.ctx, "ben", "develop", map[string]string{"b": strconv.Itoa(i)}, "Push")
			return err
		},
		func(int) error { _, err := w.repo.Comment(w.ctx, "eve", number, "hi"); return err },
		func(int) error { w.want(http.StatusOK, http.MethodGet, repoPath+"/pulls/1", nil); return nil },
		func(int) error {
			w.want(http.StatusCreated, http.MethodPost, repoPath+"/issues/1/comments", map[string]any{"body": "hi"})
			return nil
		},
		func(int) error { w.repo.Pulls(); w.Deliveries(); w.Effects(); return nil },
	}
	for _, f := range work {
		go func() {
			var err error
			for i := range each {
				if e := f(i); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	for range work {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w.hooked("push", 1+2*each)
	w.hooked("issue_comment", 2*each)
	if n := len(w.pull(number).Comments); n != 2*each {
		t.Errorf("comments: %d", n)
	}
}
