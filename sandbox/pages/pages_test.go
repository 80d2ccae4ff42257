package pages_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
)

func TestPagesShowWhatIsThere(t *testing.T) { //nolint:funlen // a table
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/add-region", "Add a region", "A second **stamp**, see #1.")
	check := w.check(number, map[string]any{
		"name": "switchyard / plan (dev)", "status": "completed", "conclusion": "success",
		"output":  map[string]any{"title": "2 to add", "summary": "The **plan**", "text": "```diff\n+ new\n- old\n! changed\n```"},
		"actions": []map[string]any{{"label": "Plan again", "description": "Plan anew", "identifier": "plan"}},
	})
	hidden := w.comment(number, "An *old* answer")
	w.post("/api/graphql", map[string]any{
		"query":     `mutation($input: MinimizeCommentInput!) { minimizeComment(input: $input) { minimizedComment { isMinimized } } }`,
		"variables": map[string]any{"input": map[string]any{"subjectId": hidden, "classifier": "OUTDATED"}},
	})
	commentID, err := w.network.Comment(t.Context(), "ana", number, "/plan")
	w.must(err)
	w.post(fmt.Sprintf("/api/v3/repos/acme/network/issues/comments/%d/reactions", commentID), map[string]any{"content": "eyes"})
	_, err = w.network.Review(t.Context(), "otto", number, sandbox.ChangesRequested, "Which *region*?")
	w.must(err)
	reviewID, err := w.network.Review(t.Context(), "ana", number, sandbox.Approved)
	w.must(err)
	merged := w.pull("feature/done", "Already done", "")
	sha, err := w.network.Merge(t.Context(), "ana", merged, "merge")
	w.must(err)
	deployment := w.post("/api/v3/repos/acme/network/deployments", map[string]any{
		"ref": sha, "environment": "dev", "auto_merge": false, "required_contexts": []string{},
	})
	w.post(fmt.Sprintf("/api/v3/repos/acme/network/deployments/%d/statuses", id(deployment)), map[string]any{
		"state": "success", "description": "Applied 2 changes",
	})
	issue, err := w.network.OpenIssue(t.Context(), "ana", "Drift in dev", "Something *changed*.")
	w.must(err)
	view, _ := w.network.PullView(number)

	pull := fmt.Sprintf("/acme/network/pull/%d", number)
	tests := map[string]struct {
		path string
		want []string
	}{
		"the list of repositories": {"/", []string{`href="/acme/network"`, "acme / network", "Ana Acosta"}},
		"one owner's repositories": {"/acme", []string{`href="/acme/network"`}},
		"a repository": {"/acme/network", []string{
			"Add a region", "feature/add-region", "Applied 2 changes", "<strong>network</strong>", "develop", w.network.CloneURL(),
		}},
		"open pull requests":   {"/acme/network/pulls", []string{"Add a region", "1 Open", "1 Closed", "icon-pull-open"}},
		"closed pull requests": {"/acme/network/pulls?state=closed", []string{"Already done", "icon-pull-merged"}},
		"a pull request": {pull, []string{
			"Add a region", "<strong>stamp</strong>", `href="/acme/network/issues/1"`, "wants to merge", ">feature/add-region</a>",
			"comment was hidden as outdated", "<em>old</em>", "/plan", `title="eyes"`,
			"All checks have passed", "switchyard / plan (dev)", "2 to add", "The <strong>plan</strong>", "Plan again",
			`<span class="line add">+ new</span>`, `<span class="line del">- old</span>`, `<span class="line change">! changed</span>`,
			"<strong>otto</strong> requested changes to", "Which <em>region</em>?", "<strong>ana</strong> approved",
			fmt.Sprintf(`id="pullrequestreview-%d"`, reviewID), `/approve">Approve</button>`, `/request-changes">Request changes</button>`,
			"ana (maintain)", "otto (read)", "Merge pull request", "Close pull request", `<label class="comment-head" for="body">`,
		}},
		"a merged pull request": {fmt.Sprintf("/acme/network/pull/%d", merged), []string{
			"Merged", "merged this as", sha[:7], "<strong>switchyard[bot]</strong> deployed", "Applied 2 changes",
		}},
		"a pull request by the address of an issue": {fmt.Sprintf("/acme/network/issues/%d", number), []string{"Add a region"}},
		"issues": {"/acme/network/issues", []string{"Drift in dev", "icon-issue-open"}},
		"an issue": {fmt.Sprintf("/acme/network/issues/%d", issue), []string{
			"Drift in dev", "<em>changed</em>", "Comment</button>",
		}},
		"deployments":             {"/acme/network/deployments", []string{"dev", "success", "Applied 2 changes", sha[:7]}},
		"branches":                {"/acme/network/branches", []string{"feature/add-region", "develop", "main", "default"}},
		"the commits of a branch": {"/acme/network/tree/feature/add-region", []string{"Work on feature/add-region", "1 successful check"}},
		"a commit with its checks": {"/acme/network/commit/" + view.Head.SHA, []string{
			"Work on feature/add-region", "The <strong>plan</strong>", " open>", "Add a region #1",
		}},
		"the address of a check": {fmt.Sprintf("/acme/network/runs/%d", check), []string{fmt.Sprintf(`id="check-%d" open`, check)}},
		"webhook deliveries":     {"/-/deliveries", []string{"Webhook deliveries"}},
		"the style sheet":        {"/-/style.css", []string{"prefers-color-scheme: dark"}},
		"the script":             {"/-/live.js", []string{"EventSource"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			wantContains(t, w.page(test.path), test.want...)
		})
	}
}

func TestTheFormOfANewPullRequestChoosesNoBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pull("feature/a", "A", "")
	page := w.page("/acme/network/pulls")
	for _, field := range []string{"from", "to"} {
		_, rest, _ := strings.Cut(page, `<select name="`+field+`"`)
		choice, _, _ := strings.Cut(rest, "</select>")
		if !strings.HasPrefix(choice, ` required><option value="">`) || strings.Contains(choice, "selected") {
			t.Errorf("%s has a branch before anybody chose one: %s", field, choice)
		}
		wantContains(t, choice, "<option>feature/a</option>", "<option>develop</option>", "<option>main</option>")
	}
}

func TestTheFormOfABaseShowsTheOneThatIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/a", "A", "")
	_, rest, _ := strings.Cut(w.page(fmt.Sprintf("/acme/network/pull/%d", number)), `<select name="base"`)
	choice, _, _ := strings.Cut(rest, "</select>")
	wantContains(t, choice, "<option selected>develop</option>", "<option>main</option>")
	wantLacks(t, choice, "feature/a")
}

func TestHostileTextIsOnlyText(t *testing.T) {
	t.Parallel()
	const attack = `<script>alert(1)</script><img src=x onerror=alert(1)>"'><svg onload=alert(1)>`
	const body = attack + "\n\n" + `<a href="javascript:alert(1)">a</a> [b](javascript:alert(1))
<p style="position:fixed" id="body" onclick="x()">c</p>
<form action="/acme/network/pull/1/merge" method="post"><input name="token"><button>d</button></form>
<iframe src="https://example.com"></iframe><base href="https://example.com"><style>*{display:none}</style>
<details open ontoggle=alert(1)><summary>folded</summary>

| a | b |
| - | -: |
| <b>1</b> | 2 |

</details>
<!-- hidden --> &lt;script&gt; ` + "`<script>`\n```<script>\n</code></pre><script>alert(1)</script>\n```\n" +
		"```diff\"><script>\n+ </span><script>x()</script>\n```\n"
	w := newWorld(t)
	number := w.pull("feature/$(id)'\"é", "Title "+attack, body)
	w.comment(number, body)
	_, err := w.network.Comment(t.Context(), "otto", number, body)
	w.must(err)
	w.check(number, map[string]any{
		"name": "check " + attack, "status": "completed", "conclusion": "failure", "details_url": "javascript:alert(1)",
		"output": map[string]any{"title": attack, "summary": body, "text": body},
	})
	_, err = w.network.OpenIssue(t.Context(), "otto", attack, body)
	w.must(err)
	_, err = w.network.Review(t.Context(), "otto", number, sandbox.Commented, body)
	w.must(err)
	view, _ := w.network.PullView(number)

	for _, path := range []string{
		"/acme/network", "/acme/network/pulls", fmt.Sprintf("/acme/network/pull/%d", number), "/acme/network/issues",
		fmt.Sprintf("/acme/network/issues/%d", number+1), "/acme/network/branches", "/acme/network/commit/" + view.Head.SHA,
		"/acme/network/tree/" + url.PathEscape(view.Head.Name),
	} {
		page := w.page(path)
		wantLacks(t, page, "<script>", "<img", "onerror=alert(1)>", "<svg onload", `href="javascript:`, `style="`, "<iframe", "<base", "<style",
			"onclick=", "ontoggle=", `id="body" onclick`, `<input name="token"`, "<!-- hidden", "example.com")
		if n := strings.Count(page, `id="body"`); n > 1 {
			t.Errorf("%s: a comment has taken the id of the comment box", path)
		}
	}
	wantContains(t, w.page(fmt.Sprintf("/acme/network/pull/%d", number)),
		"<summary>folded</summary>", "<details open", `<td align="right">2</td>`, "<b>1</b>", "&lt;script&gt;")
}

func TestEveryPageIsLockedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/", "/acme/network/pulls", "/-/live.js", "/nobody/nothing"} {
		got := w.get(path)
		policy := got.header.Get("Content-Security-Policy")
		wantContains(t, policy, "default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
		wantLacks(t, policy, "unsafe", "http:", "https:", "*")
		if kind := got.header.Get("X-Content-Type-Options"); kind != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options is %q", path, kind)
		}
	}
}

func TestPagesThatDoNotExistSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{
		"/acme/nothing", "/acme/network/pull/99", "/acme/network/pull/x", "/acme/network/commit/--all", "/acme/network/commit/ffffffff",
		"/acme/network/tree/--output=x", "/acme/network/tree/nothing", "/acme/network/runs/1", "/acme/network/settings", "/a/b/c/d/e",
		"/acme/network/pull/%3Cscript%3E",
	} {
		got := w.get(path)
		if got.status != http.StatusNotFound {
			t.Errorf("GET %s: %d, want 404", path, got.status)
		}
		wantContains(t, got.body, "This page does not exist")
		wantLacks(t, got.body, "<script>")
	}
}

func TestAPersonCanAct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/a", "A", "")
	pull := fmt.Sprintf("/acme/network/pull/%d", number)

	got := w.do(w.form(pull+"/comment", url.Values{"as": {"ana"}, "body": {"/plan dev\r\nplease"}}))
	if got.status != http.StatusOK || got.path != pull {
		t.Fatalf("comment: %d at %s\n%s", got.status, got.path, got.body)
	}
	view, _ := w.network.PullView(number)
	if len(view.Comments) != 1 {
		t.Fatalf("want one comment, got %d", len(view.Comments))
	}
	if diff := cmp.Diff([]string{"ana", "/plan dev\nplease"}, []string{view.Comments[0].Author, view.Comments[0].Body}); diff != "" {
		t.Error(diff)
	}
	wantContains(t, got.body, `<option value="ana" selected>`)

	got = w.do(w.form(pull+"/approve", url.Values{"as": {"ana"}, "body": {""}}))
	if got.status != http.StatusOK || got.path != pull {
		t.Fatalf("approve: %d at %s\n%s", got.status, got.path, got.body)
	}
	w.do(w.form(pull+"/request-changes", url.Values{"as": {"otto"}, "body": {"no:\r\nnot yet"}}))
	_, pushErr := w.network.Push(t.Context(), "ben", "feature/a", map[string]string{"c.tf": "c"}, "More work on a")
	w.must(pushErr)
	w.do(w.form(pull+"/approve", url.Values{"as": {"ana"}, "body": {"better"}}))
	view, _ = w.network.PullView(number)
	var reviews []string
	for _, r := range view.Reviews {
		reviews = append(reviews, fmt.Sprintf("%s %s %t %q", r.Author, r.State, r.Commit == view.Head.SHA, r.Body))
	}
	want := []string{`ana approved false ""`, `otto changes_requested false "no:\nnot yet"`, `ana approved true "better"`}
	if diff := cmp.Diff(want, reviews); diff != "" {
		t.Errorf("reviews (-want +got):\n%s", diff)
	}
	if n := strings.Count(w.page(pull), "older commit"); n != 2 {
		t.Errorf("%d reviews are shown as of an older commit, want 2", n)
	}

	got = w.do(w.form(pull+"/base", url.Values{"as": {"ben"}, "base": {"main"}}))
	if view, _ = w.network.PullView(number); view.Base.Name != "main" || got.path != pull {
		t.Errorf("the base is %s, at %s:\n%s", view.Base.Name, got.path, got.body)
	}
	w.do(w.form(pull+"/base", url.Values{"as": {"ben"}, "base": {"develop"}}))

	w.do(w.form(pull+"/close", url.Values{"as": {"ben"}}))
	w.state(number, "closed")
	wantLacks(t, w.page(pull), `id="edit-base"`)
	w.do(w.form(pull+"/reopen", url.Values{"as": {"ben"}}))
	w.state(number, "open")
	w.do(w.form(pull+"/merge", url.Values{"as": {"ana"}, "method": {"squash"}}))
	w.state(number, "merged")

	_, err := w.network.Push(t.Context(), "ben", "feature/b", map[string]string{"b.tf": "b"}, "Work on b")
	w.must(err)
	got = w.do(w.form("/acme/network/pull", url.Values{"as": {"ben"}, "from": {"feature/b"}, "to": {"develop"}, "title": {"B"}}))
	if want := fmt.Sprintf("/acme/network/pull/%d", number+1); got.path != want {
		t.Errorf("a new pull request leads to %s, want %s", got.path, want)
	}
	got = w.do(w.form("/acme/network/issues", url.Values{"as": {"otto"}, "title": {"Question"}, "body": {"/status"}}))
	if want := fmt.Sprintf("/acme/network/issues/%d", number+2); got.path != want {
		t.Errorf("a new issue leads to %s, want %s", got.path, want)
	}
}

func TestAPersonCanPressTheButtonsOfACheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/a", "A", "")
	check := w.check(number, map[string]any{
		"name": "plan", "status": "completed", "conclusion": "success",
		"actions": []map[string]any{{"label": "Again", "description": "Plan anew", "identifier": "again"}},
	})
	w.sandbox.SetWebhookURL(w.sandbox.URL() + "/-/nowhere")
	for act, fields := range map[string]url.Values{
		"rerequest": {"as": {"ben"}, "pull": {strconv.Itoa(number)}},
		"action":    {"as": {"ben"}, "pull": {strconv.Itoa(number)}, "identifier": {"again"}},
	} {
		got := w.do(w.form(fmt.Sprintf("/acme/network/runs/%d/%s", check, act), fields))
		if want := fmt.Sprintf("/acme/network/pull/%d", number); got.path != want {
			t.Errorf("%s leads to %s, want %s\n%s", act, got.path, want, got.body)
		}
	}
	sent := map[string]bool{}
	w.must(w.sandbox.Await(t.Context(), func() bool {
		for _, delivery := range w.sandbox.Deliveries() {
			sent[delivery.Event+"."+delivery.Action] = true
		}
		return sent["check_run.rerequested"] && sent["check_run.requested_action"]
	}))
}

func TestWhatIsRefusedIsExplainedAndKeepsTheText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/a", "A", "")
	pull := fmt.Sprintf("/acme/network/pull/%d", number)
	tests := map[string]struct {
		path   string
		fields url.Values
		want   []string
	}{
		"merging without permission": {pull + "/merge", url.Values{"as": {"otto"}, "method": {"merge"}}, []string{"otto", "needs write"}},
		"a comment without text":     {pull + "/comment", url.Values{"as": {"ana"}, "body": {" \n"}}, []string{"a comment needs some text"}},
		"a comment that is too long": {
			pull + "/comment",
			url.Values{"as": {"ana"}, "body": {strings.Repeat("endless ", 9_000)}},
			[]string{"65536", strings.Repeat("endless ", 3)},
		},
		"somebody unknown": {
			pull + "/comment", url.Values{"as": {"eve"}, "body": {"kept <b>"}}, []string{"nobody here is called", "kept &lt;b&gt;"},
		},
		"the App itself":             {pull + "/comment", url.Values{"as": {"switchyard[bot]"}, "body": {"x"}}, []string{"nobody here is called"}},
		"a review of one's own work": {pull + "/approve", url.Values{"as": {"ben"}}, []string{"Can not approve your own pull request"}},
		"a request without a word":   {pull + "/request-changes", url.Values{"as": {"ana"}, "body": {" "}}, []string{"say what to change"}},
		"an unknown button":          {pull + "/delete", url.Values{"as": {"ana"}}, []string{"this page has no such button"}},
		"a base that there is not":   {pull + "/base", url.Values{"as": {"ben"}, "base": {"--x"}}, []string{"no branch"}},
		"another's base":             {pull + "/base", url.Values{"as": {"otto"}, "base": {"main"}}, []string{"otto", "needs triage"}},
		"a pull request from no branch": {
			"/acme/network/pull", url.Values{"as": {"ben"}, "from": {""}, "to": {"develop"}}, []string{"That did not work."},
		},
		"an issue without a title": {"/acme/network/issues", url.Values{"as": {"ana"}}, []string{"an issue needs a title"}},
		"a pull request to nowhere": {
			"/acme/network/pull", url.Values{"as": {"ben"}, "from": {"--x"}, "to": {"develop"}}, []string{"That did not work."},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := w.do(w.form(test.path, test.fields))
			if got.status != http.StatusUnprocessableEntity {
				t.Errorf("status is %d, want 422", got.status)
			}
			wantContains(t, got.body, append(test.want, `role="alert"`)...)
		})
	}
	w.state(number, "open")
	if view, _ := w.network.PullView(number); len(view.Comments) != 0 {
		t.Errorf("a refused comment was posted: %v", view.Comments)
	}
}

func TestOnlyOurOwnFormsAct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/a", "A", "")
	path := fmt.Sprintf("/acme/network/pull/%d/comment", number)
	fields := func() url.Values { return url.Values{"as": {"ana"}, "body": {"planted"}} }
	tests := map[string]struct {
		request func() *http.Request
		want    int
	}{
		"a form without the token": {func() *http.Request { return w.rawForm(path, fields()) }, http.StatusForbidden},
		"a form of another site": {func() *http.Request {
			request := w.form(path, fields())
			request.Header.Set("Origin", "https://attacker.example")
			request.Header.Set("Sec-Fetch-Site", "cross-site")
			return request
		}, http.StatusForbidden},
		"a form of another port, in an old browser": {func() *http.Request {
			request := w.form(path, fields())
			request.Header.Set("Origin", "http://127.0.0.1:1")
			request.Header.Del("Sec-Fetch-Site")
			return request
		}, http.StatusForbidden},
		"a name that leads to this machine": {func() *http.Request {
			request := w.form(path, fields())
			request.Host = "attacker.example"
			return request
		}, http.StatusMisdirectedRequest},
		"a form that is too large": {func() *http.Request {
			return w.form(path, url.Values{"as": {"ana"}, "body": {strings.Repeat("x", 1<<20)}})
		}, http.StatusBadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := w.do(test.request()); got.status != test.want {
				t.Errorf("status is %d, want %d\n%s", got.status, test.want, got.body)
			}
		})
	}
	if view, _ := w.network.PullView(number); len(view.Comments) != 0 {
		t.Errorf("somebody commented: %v", view.Comments)
	}
}

func TestAPageHearsOfChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.pull("feature/a", "A", "")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.sandbox.URL()+"/-/events", http.NoBody)
	w.must(err)
	response, err := w.browser.Do(request)
	w.must(err)
	defer func() { w.must(response.Body.Close()) }()
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("the content type is %q", kind)
	}
	lines := bufio.NewScanner(response.Body)
	event := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return ""
	}
	if got := event(); got != "data: change" {
		t.Errorf("at first: %q", got)
	}
	started := time.Now()
	_, err = w.network.Comment(t.Context(), "ana", number, "news")
	w.must(err)
	if got := event(); got != "data: change" {
		t.Errorf("after a change: %q", got)
	}
	if waited := time.Since(started); waited > 10*time.Second {
		t.Errorf("the change was heard of after %s, by the heartbeat", waited)
	}
}

func (w *world) state(number int, want string) {
	w.t.Helper()
	if view, _ := w.network.PullView(number); view.State != want {
		w.t.Errorf("#%d is %s, want %s", number, view.State, want)
	}
}
