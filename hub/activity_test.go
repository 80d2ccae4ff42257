package hub_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/sandbox"
)

func TestWhoMovedABranch(t *testing.T) {
	t.Parallel()
	moved := func(kind, ref, actor string) string {
		return fmt.Sprintf(`{"id":1,"node_id":"x","before":"a","after":"b","ref":%q,"timestamp":"2026-11-21T12:00:00Z","activity_type":%q,"actor":%s}`,
			ref, kind, actor)
	}
	const next = "Link: <https://api.github.com/repositories/5/activity?per_page=100&after=MjA%%2B%d>; rel=\"next\""
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
		body := "[" + moved("push", "refs/heads/main", `{"login":"eve","type":"User"}`) + "," + moved("push", "refs/heads/mainline", `null`) + "," +
			moved("pr_merge", "refs/heads/main", `null`) + "]"
		says(http.StatusOK, body, fmt.Sprintf(next, nth))(w, r, nth)
	})
	var got []string
	all := func(one hub.Activity) bool {
		got = append(got, strings.TrimSpace(one.Kind+" "+one.Actor.Login)+one.At.Format(" 15:04"))
		return true
	}
	if err := w.hub.Activities(t.Context(), network, "main", all); err != nil {
		t.Fatal(err)
	}
	const pages = 5 // and no more are asked for
	var want, asked []string
	for page := range pages {
		want = append(want, "push eve 12:00", "pr_merge 12:00")
		after := ""
		if page > 0 {
			after = fmt.Sprintf("after=MjA%%2B%d&", page)
		}
		asked = append(asked, "GET /api/v3/repos/acme/network/activity?"+after+"per_page=100&ref=refs%2Fheads%2Fmain")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(asked, w.asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := w.hub.Activities(t.Context(), network, "main", func(hub.Activity) bool { return false }); err != nil || len(w.asked) != pages+1 {
		t.Errorf("who has seen enough gets more: %v, %q", err, w.asked)
	}
	person := (*hub.NeedsPerson)(nil)
	w = newWorld(t, says(http.StatusForbidden, `{"message":"Resource not accessible by integration"}`))
	if err := w.hub.Activities(t.Context(), network, "main", all); !errors.As(err, &person) {
		t.Errorf("%v", err)
	}
}

func TestTheStandInTellsWhoMovedABranch(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	const pushes = 101 // more than a page
	number, _ := s.open(t, "feature/a")
	before := s.remote.Branches()["develop"]
	if _, err := s.remote.Merge(t.Context(), "ana", number, sandbox.Squash); err != nil {
		t.Fatal(err)
	}
	for i := range pushes {
		o := sandbox.PushOptions{Force: i == 0, From: ""}
		if _, err := s.remote.Push(t.Context(), "ben", "develop", map[string]string{"c": strconv.Itoa(i)}, "c", o); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string]int{}
	var last hub.Activity
	err := s.hub.Activities(t.Context(), s.repo, "develop", func(one hub.Activity) bool {
		if last.Before != "" && one.After != last.Before || one.At.After(time.Now()) {
			t.Errorf("%+v comes before %+v", one, last)
		}
		kinds[one.Kind+" "+one.Actor.Login]++
		last = one
		return true
	})
	want := map[string]int{"pr_merge ana": 1, "force_push ben": 1, "push ben": pushes - 1}
	if diff := cmp.Diff(want, kinds); diff != "" || err != nil || last.Before != before {
		t.Errorf("%v, from %s: %s", err, last.Before, diff)
	}
}
