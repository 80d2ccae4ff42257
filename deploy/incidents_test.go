package deploy //nolint:testpackage // a surface is written without the loop that writes all

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

func TestAnEntryThatIsInAPullRequestSaysSoAgainWheneverItIsEdited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ids  external
		note bool
	}{
		"in the pull request":        {external{ID: 5, Issue: 41}, true},
		"in the issue for incidents": {external{ID: 5, Issue: 50}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			written := make(chan string, 9)
			github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var comment struct {
					Body string `json:"body"`
				}
				if err := json.NewDecoder(r.Body).Decode(&comment); err == nil {
					written <- comment.Body
				}
				_, _ = fmt.Fprint(w, `{"id":5,"html_url":"https://github.com/acme/network/pull/41#issuecomment-5"}`)
			}))
			t.Cleanup(github.Close)
			d := New(Options{})
			var err error
			if d.Hub, err = hub.New(hub.Options{Bearer: "x", APIURL: github.URL}); err != nil {
				t.Fatal(err)
			}
			repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}
			wanted := incident{Environment: "dev", Body: "A lock was left behind, and is free now.", Pull: 41}
			if ids, err := d.writeIncident(t.Context(), repo, "incident/dev/1", false, c.ids, wanted); err != nil || ids.Issue != c.ids.Issue {
				t.Fatalf("%+v, %v", ids, err)
			}
			body := <-written
			if strings.Contains(body, "GitHub takes no issue") != c.note || !strings.Contains(body, "is free now") {
				t.Error(body)
			}
		})
	}
}
