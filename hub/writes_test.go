package hub_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
)

func (w *world) wants(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

const repoPath = "/api/v3/repos/acme/network/"

func TestPutCheck(t *testing.T) {
	t.Parallel()
	running := hub.Check{
		Name: "switchyard / plan (dev)", HeadSHA: "abc", Status: hub.CheckInProgress, Conclusion: "success", Title: "Planning", Summary: "s",
		ExternalID: "plan 1", Started: start, Completed: start,
	}
	done := hub.Check{
		Name: "switchyard / plan (dev)", HeadSHA: "abc", Status: hub.CheckCompleted, Conclusion: "success", Title: "t", Summary: "s", Text: "x", DetailsURL: "https://d",
		Completed: start, Actions: []hub.CheckAction{{Label: "Plan again", Description: "Plans again.", Identifier: "plan"}},
	}
	t.Run("one without an id is created, without a conclusion before its end", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(201, `{"id":11}`))
		id, err := w.hub.PutCheck(t.Context(), network, 0, running)
		if err != nil || id != 11 {
			t.Error(id, err)
		}
		w.wants(t, `POST `+repoPath+`check-runs {"name":"switchyard / plan (dev)","head_sha":"abc","external_id":"plan 1","status":"in_progress","started_at":"2026-11-21T12:00:00Z","output":{"title":"Planning","summary":"s","text":""}}`)
	})
	t.Run("one with an id is updated", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(200, `{"id":11}`))
		id, err := w.hub.PutCheck(t.Context(), network, 11, done)
		if err != nil || id != 11 {
			t.Error(id, err)
		}
		w.wants(t, `PATCH `+repoPath+`check-runs/11 {"name":"switchyard / plan (dev)","details_url":"https://d","status":"completed","conclusion":"success","completed_at":"2026-11-21T12:00:00Z","output":{"title":"t","summary":"s","text":"x"},"actions":[{"label":"Plan again","description":"Plans again.","identifier":"plan"}]}`)
	})
	t.Run("one that is gone is created anew", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, first(says(404, `{}`), says(201, `{"id":12}`)))
		id, err := w.hub.PutCheck(t.Context(), network, 11, running)
		if err != nil || id != 12 || len(w.asked) != 2 {
			t.Error(id, err, w.asked)
		}
	})
	t.Run("one whose answer was lost is found", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, first(says(200, `{"total_count":2,"check_runs":[{"id":1,"name":"switchyard / plan (dev)","external_id":"plan 1","app":{"id":1}},{"id":13,"name":"switchyard / plan (dev)","external_id":"plan 1","app":{"id":99}}]}`), says(200, `{"id":13}`)))
		searched := running
		searched.Search = true
		id, err := w.hub.PutCheck(t.Context(), network, 0, searched)
		if err != nil || id != 13 {
			t.Error(id, err)
		}
		if want := "GET " + repoPath + "commits/abc/check-runs?app_id=99&check_name=switchyard+%2F+plan+%28dev%29&per_page=100"; w.asked[0] != want {
			t.Error(w.asked[0])
		}
		if !strings.HasPrefix(w.asked[1], "PATCH "+repoPath+"check-runs/13 ") {
			t.Error(w.asked[1])
		}
	})
	t.Run("what is too long is cut, at characters", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(201, `{"id":11}`))
		long := done
		long.Title, long.Summary, long.Text = strings.Repeat("ä", 300), strings.Repeat("ä", 70_000), strings.Repeat("ä", 65_535)
		long.Actions = make([]hub.CheckAction, 5)
		if _, err := w.hub.PutCheck(t.Context(), network, 0, long); err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(w.asked[0]) || strings.Count(w.asked[0], "ä") != 254+65_534+65_535 || strings.Count(w.asked[0], `"identifier"`) != 3 {
			t.Errorf("%d characters, %d actions", strings.Count(w.asked[0], "ä"), strings.Count(w.asked[0], `"identifier"`))
		}
	})
	t.Run("a success without an id is a fault", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(200, `{}`))
		if id, err := w.hub.PutCheck(t.Context(), network, 0, done); err == nil || typed(err) || id != 0 {
			t.Error(id, err)
		}
	})
}

func TestPutComment(t *testing.T) {
	t.Parallel()
	comment := hub.Comment{Number: 3, Body: "hello <!-- m -->", Marker: "<!-- m -->"}
	const body = `{"body":"hello <!-- m -->"}`
	made := hub.CommentRef{ID: 21, NodeID: "n", URL: "u"}
	t.Run("one without an id is posted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(201, `{"id":21,"node_id":"n","html_url":"u"}`))
		got, err := w.hub.PutComment(t.Context(), network, 0, comment)
		if err != nil || got != made {
			t.Error(got, err)
		}
		w.wants(t, "POST "+repoPath+"issues/3/comments "+body)
	})
	t.Run("one that was deleted is posted anew", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, first(says(404, ``), says(201, `{"id":21,"node_id":"n","html_url":"u"}`)))
		got, err := w.hub.PutComment(t.Context(), network, 20, comment)
		if err != nil || got != made {
			t.Error(got, err)
		}
		w.wants(t, "PATCH "+repoPath+"issues/comments/20 "+body, "POST "+repoPath+"issues/3/comments "+body)
	})
	t.Run("one that was deleted, and whose new one's answer was lost, is not posted a third time", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, first(says(404, ``), first2(
			says(200, `[{"id":21,"body":"<!-- m -->","user":{"type":"Bot"},"performed_via_github_app":{"id":99}}]`),
			says(200, `{"id":21,"node_id":"n","html_url":"u"}`))))
		searched := comment
		searched.Search = true
		got, err := w.hub.PutComment(t.Context(), network, 20, searched)
		if err != nil || got != made {
			t.Error(got, err)
		}
		w.wants(t, "PATCH "+repoPath+"issues/comments/20 "+body, "GET "+repoPath+"issues/3/comments?per_page=100",
			"PATCH "+repoPath+"issues/comments/21 "+body)
	})
	t.Run("ours is found by its marker, and nobody else's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, func(w http.ResponseWriter, _ *http.Request, nth int) {
			switch nth {
			case 1:
				w.Header().Set("Link", `<https://example.com/?page=2>; rel="next"`)
				_, _ = io.WriteString(w, `[{"id":1,"body":"<!-- m -->","user":{"type":"User"}},
					{"id":2,"body":"<!-- m -->","user":{"type":"Bot"},"performed_via_github_app":{"id":1}},
					{"id":3,"body":"<!-- m -->","user":{"type":"User"},"performed_via_github_app":{"id":99}},
					{"id":4,"body":"other","user":{"type":"Bot"},"performed_via_github_app":{"id":99}}]`)
			case 2:
				_, _ = io.WriteString(w, `[{"id":21,"body":"old <!-- m -->","user":{"type":"Bot"},"performed_via_github_app":{"id":99}}]`)
			default:
				_, _ = io.WriteString(w, `{"id":21,"node_id":"n","html_url":"u"}`)
			}
		})
		searched := comment
		searched.Search = true
		got, err := w.hub.PutComment(t.Context(), network, 0, searched)
		if err != nil || got != made {
			t.Error(got, err)
		}
		w.wants(t, "GET "+repoPath+"issues/3/comments?per_page=100", "GET "+repoPath+"issues/3/comments?page=2&per_page=100", "PATCH "+repoPath+"issues/comments/21 "+body)
	})
	t.Run("without a marker nothing is looked for", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(201, `{"id":21}`))
		if _, err := w.hub.PutComment(t.Context(), network, 0, hub.Comment{Number: 3, Body: "x", Search: true}); err != nil || len(w.asked) != 1 {
			t.Error(err, w.asked)
		}
	})
	t.Run("a locked conversation needs a person", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(403, `{"message":"Unable to create comment because issue is locked."}`, "X-Accepted-GitHub-Permissions: issues=write"))
		_, err := w.hub.PutComment(t.Context(), network, 0, comment)
		want := &hub.NeedsPerson{
			What:   "GitHub refused to post a comment on #3 of acme/network: Unable to create comment because issue is locked.",
			Remedy: "Unlock the conversation, then ask again.",
		}
		if diff := cmp.Diff(error(want), err); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMinimize(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int)
		check  func(error) bool
	}{
		{"done", says(200, `{"data":{"minimizeComment":{"minimizedComment":{"isMinimized":true}}}}`), func(err error) bool { return err == nil }},
		{"a comment that is gone", says(200, `{"errors":[{"type":"NOT_FOUND","message":"Could not resolve to a node"}]}`), func(err error) bool {
			var gone *hub.Gone
			return errors.As(err, &gone)
		}},
		{"a missing permission", says(200, `{"errors":[{"type":"FORBIDDEN","message":"Resource not accessible by integration"}]}`), func(err error) bool {
			var person *hub.NeedsPerson
			return errors.As(err, &person)
		}},
		{"a limit", says(200, `{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}`, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1795262460"), func(err error) bool {
			var wait *hub.Wait
			return errors.As(err, &wait) && wait.Until.Equal(time.Unix(1795262461, 0))
		}},
		{"a fault", says(200, `{"errors":[{"message":"Something went wrong"}]}`), func(err error) bool { return err != nil && !typed(err) }},
		{"a refusal", says(403, `{"message":"You have exceeded a secondary rate limit"}`), func(err error) bool {
			var wait *hub.Wait
			return errors.As(err, &wait)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.answer)
			if err := w.hub.Minimize(t.Context(), network, `x" } evil {`); !c.check(err) {
				t.Errorf("%#v", err)
			}
			if !strings.HasPrefix(w.asked[0], "POST /api/graphql ") || !strings.Contains(w.asked[0], `"variables":{"id":"x\" } evil {"}`) {
				t.Error(w.asked[0])
			}
		})
	}
}

func TestUnminimize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"data":{"unminimizeComment":{"unminimizedComment":{"isMinimized":false}}}}`))
	if err := w.hub.Unminimize(t.Context(), network, "IC_1"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(w.asked[0], "unminimizeComment(input: {subjectId: $id})") || !strings.Contains(w.asked[0], `"variables":{"id":"IC_1"}`) {
		t.Error(w.asked[0])
	}
}

func TestReact(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"id":1}`))
	if err := w.hub.React(t.Context(), network, 21, "eyes"); err != nil {
		t.Fatal(err)
	}
	w.wants(t, "POST "+repoPath+`issues/comments/21/reactions {"content":"eyes"}`)
}

func TestPutDeployment(t *testing.T) {
	t.Parallel()
	applying := hub.Deployment{
		Ref: "abc", Environment: "dev", Description: "apply 1", Payload: map[string]any{"operation": 1}, State: "in_progress", StatusDescription: "applying", LogURL: "https://l",
	}
	const (
		create = "POST " + repoPath + `deployments {"ref":"abc","auto_merge":false,"required_contexts":[],"payload":{"operation":1},"environment":"dev","description":"apply 1","production_environment":false}`
		status = `statuses {"state":"in_progress","log_url":"https://l","description":"applying"}`
	)
	t.Run("one without an id is created with its status", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(201, `{"id":31}`))
		id, err := w.hub.PutDeployment(t.Context(), network, 0, "", applying)
		if err != nil || id != 31 {
			t.Error(id, err)
		}
		w.wants(t, create, "POST "+repoPath+"deployments/31/"+status)
	})
	t.Run("a state that is shown already is not written again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(500, ``))
		if id, err := w.hub.PutDeployment(t.Context(), network, 31, "in_progress", applying); err != nil || id != 31 || len(w.asked) > 0 {
			t.Error(id, err, w.asked)
		}
	})
	t.Run("the id is known also when the status failed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, first(says(201, `{"id":31}`), says(502, ``)))
		if id, err := w.hub.PutDeployment(t.Context(), network, 0, "", applying); err == nil || id != 31 {
			t.Error(id, err)
		}
	})
	t.Run("one that was deleted is created anew", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, first(says(404, ``), says(201, `{"id":32}`)))
		id, err := w.hub.PutDeployment(t.Context(), network, 31, "queued", applying)
		if err != nil || id != 32 {
			t.Error(id, err)
		}
		w.wants(t, "POST "+repoPath+"deployments/31/"+status, create, "POST "+repoPath+"deployments/32/"+status)
	})
	t.Run("one whose answer was lost is found by its payload", func(t *testing.T) {
		t.Parallel()
		const listed = `[{"id":1,"ref":"abc","environment":"dev","payload":{"operation":2}},{"id":2,"ref":"abc","environment":"dev","payload":""},{"id":33,"ref":"abc","environment":"dev","payload":{"operation":1}}]`
		w := newWorld(t, first(says(200, listed), first2(says(200, `[]`), says(201, `{"id":1}`))))
		lost := applying
		lost.Search = true
		id, err := w.hub.PutDeployment(t.Context(), network, 0, "", lost)
		if err != nil || id != 33 {
			t.Error(id, err)
		}
		w.wants(t, "GET "+repoPath+"deployments?environment=dev&per_page=100&ref=abc",
			"GET "+repoPath+"deployments/33/statuses?per_page=100", "POST "+repoPath+"deployments/33/"+status)
	})
	t.Run("a status whose answer was lost is not written again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(200, `[{"id":7,"state":"queued"},{"id":9,"state":"in_progress","description":"applying"},{"id":8,"state":"queued"}]`))
		lost := applying
		lost.Search = true
		id, err := w.hub.PutDeployment(t.Context(), network, 31, "queued", lost)
		if err != nil || id != 31 {
			t.Error(id, err)
		}
		w.wants(t, "GET "+repoPath+"deployments/31/statuses?per_page=100")
	})
	t.Run("a description is cut at 140 characters", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(201, `{"id":31}`))
		long := applying
		long.Description, long.StatusDescription = strings.Repeat("ü", 200), strings.Repeat("ü", 200)
		if _, err := w.hub.PutDeployment(t.Context(), network, 0, "", long); err != nil || strings.Count(strings.Join(w.asked, ""), "ü") != 2*139 {
			t.Error(err, w.asked)
		}
	})
}
