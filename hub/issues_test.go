package hub_test

import (
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
		post = `POST ` + repoPath + `issues {"body":"What happened.\n<!-- mark -->","title":"Incidents of prod"}`
	)
	for name, test := range map[string]struct {
		open   string
		number int
		calls  []string
	}{
		"the open one with the mark is found": {
			open: `[{"number":7,"body":"a\n<!-- mark -->","user":{"login":"switchyard[bot]"}}]`, number: 7, calls: []string{list},
		},
		"without one it is opened": {open: `[]`, number: 9, calls: []string{list, post}},
		"one that a person wrote is not used, whatever it says": {
			open: `[{"number":3,"body":"<!-- mark -->","user":{"login":"mallory"}}]`, number: 9, calls: []string{list, post},
		},
		"a pull request is no issue": {
			open: `[{"number":3,"body":"<!-- mark -->","user":{"login":"switchyard[bot]"},"pull_request":{}}]`, number: 9,
			calls: []string{list, post},
		},
		"one for something else is left alone": {
			open: `[{"number":3,"body":"<!-- other -->","user":{"login":"switchyard[bot]"}}]`, number: 9, calls: []string{list, post},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, first(says(200, app), first2(says(200, test.open), says(201, `{"number":9}`))))
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
