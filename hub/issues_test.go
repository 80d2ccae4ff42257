package hub_test

import (
	"cmp"
	"net/http"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	wanted := hub.OpenIssue{Title: "Incidents of prod", Body: "What happened.\n<!-- mark -->", Marker: "<!-- mark -->"}
	const (
		app  = `{"id":1,"slug":"switchyard"}`
		list = "GET " + repoPath + "issues?creator=switchyard%5Bbot%5D&direction=asc&per_page=100&sort=created&state=open"
		shut = `PATCH ` + repoPath + `issues/9 {"state":"closed","state_reason":"not_planned"}`
		post = `POST ` + repoPath + `issues {"body":"What happened.\n<!-- mark -->","title":"Incidents of prod"}`
	)
	for name, test := range map[string]struct {
		open   string
		then   string // open, once one was opened
		number int
		calls  []string
	}{
		"the open one with the mark is found": {
			open: `[{"number":7,"body":"a\n<!-- mark -->","user":{"login":"switchyard[bot]"}}]`, number: 7, calls: []string{list},
		},
		"without one it is opened": {open: `[]`, number: 9, calls: []string{list, post, list}},
		"of two that servers open at the same moment one stays open": {
			open: `[]`, then: `[{"number":8,"body":"<!-- mark -->","user":{"login":"switchyard[bot]"}}]`, number: 8,
			calls: []string{list, post, list, shut},
		},
		"one that a person wrote is not used, whatever it says": {
			open: `[{"number":3,"body":"<!-- mark -->","user":{"login":"mallory"}}]`, number: 9, calls: []string{list, post, list},
		},
		"a pull request is no issue": {
			open: `[{"number":3,"body":"<!-- mark -->","user":{"login":"switchyard[bot]"},"pull_request":{}}]`, number: 9,
			calls: []string{list, post, list},
		},
		"one for something else is left alone": {
			open: `[{"number":3,"body":"<!-- other -->","user":{"login":"switchyard[bot]"}}]`, number: 9, calls: []string{list, post, list},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
				answers := []string{app, test.open, `{"number":9}`, cmp.Or(test.then, test.open), `{}`}
				status := http.StatusOK
				if r.Method == http.MethodPost {
					status = http.StatusCreated
				}
				says(status, answers[min(nth, len(answers))-1])(w, r, nth)
			})
			number, err := w.hub.Issue(t.Context(), network, wanted)
			if err != nil || number != test.number {
				t.Errorf("issue %d, %v", number, err)
			}
			if got := w.asked[1:]; strings.Join(got, "\n") != strings.Join(test.calls, "\n") {
				t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.calls, "\n"))
			}
		})
	}
}
