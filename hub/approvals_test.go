package hub_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhoLetAJobBegin(t *testing.T) {
	t.Parallel()
	const prod = `"environments":[{"id":1,"name":"Prod"}]`
	w := newWorld(t, says(http.StatusOK, `[
		{"state":"approved","comment":"go",`+prod+`,"user":{"login":"cy","type":"User"}},
		{"state":"rejected",`+prod+`,"user":{"login":"ben","type":"User"}},
		{"state":"pending",`+prod+`,"user":{"login":"dana","type":"User"}},
		{"state":"approved",`+prod+`,"user":{"login":"switchyard[bot]","type":"Bot"}},
		{"state":"approved","environments":[{"id":2,"name":"dev"}],"user":{"login":"eve","type":"User"}},
		{"state":"approved",`+prod+`,"user":{"login":"","type":"User"}}
	]`))
	got, err := w.hub.LetBegin(t.Context(), network, 41, "prod")
	if diff := cmp.Diff([]string{"cy"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"GET /api/v3/repos/acme/network/actions/runs/41/approvals"}, w.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if got, err := newWorld(t, says(http.StatusForbidden, `{"message":"no"}`)).hub.LetBegin(t.Context(), network, 41, "prod"); err == nil || len(got) > 0 {
		t.Errorf("GitHub says no: %v, %v", got, err)
	}
}
