package hub_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
)

func TestAnswersToTheGate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   error // nil: none
	}{
		"taken":                          {http.StatusNoContent, "", nil},
		"although nothing waits":         {422, `{"message":"No pending deployment requests to approve or reject"}`, hub.ErrNothingWaits},
		"refused in unknown words":       {422, `{"message":"Teapot"}`, hub.ErrNothingWaits},
		"although all reports were made": {422, `{"message":"The maximum number of status reports for this deployment was reached."}`, hub.ErrReportsUsedUp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, says(c.status, c.body))
			if err := w.hub.AnswerGate(t.Context(), network, 9, "prod", hub.GateApproved, "Yes."); !errors.Is(err, c.want) {
				t.Errorf("it gives %v", err)
			}
			want := `POST /api/v3/repos/acme/network/actions/runs/9/deployment_protection_rule {"comment":"Yes.","environment_name":"prod","state":"approved"}`
			if !slices.Equal(w.asked, []string{want}) {
				t.Errorf("asked %q", w.asked)
			}
		})
	}
	t.Run("a report has no state", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(http.StatusNoContent, ""))
		if err := w.hub.AnswerGate(t.Context(), network, 9, "prod", "", "It waits."); err != nil || strings.Contains(w.asked[0], "state") {
			t.Errorf("%v, asked %q", err, w.asked)
		}
	})
	t.Run("a run that is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(http.StatusNotFound, `{"message":"Not Found"}`))
		if _, gone := errors.AsType[*hub.Gone](w.hub.AnswerGate(t.Context(), network, 9, "prod", hub.GateRejected, "No.")); !gone {
			t.Error("it is not said to be gone")
		}
	})
}

func TestOnlyTheAPIOfTheSettingsIsOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusOK, ""))
	for address, want := range map[string]bool{
		w.url + "/api/v3": true, w.url: false, w.url + "/api/v3/": false, "https://api.github.com": false, "": false,
		strings.Replace(w.url, "http://", "https://", 1) + "/api/v3": false,
	} {
		if got := w.hub.IsAPI(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func TestATokenToReadRepositoriesNamesThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusOK, ""))
	first, expires, err := w.hub.ReadToken(t.Context(), network.Installation, []string{"stamp"})
	second, _, again := w.hub.ReadToken(t.Context(), network.Installation, []string{"stamp"})
	if err != nil || again != nil || first == "" || first == second || expires.IsZero() {
		t.Errorf("%v, %v", err, again)
	}
	for _, names := range [][]string{nil, {}} {
		if token, _, err := w.hub.ReadToken(t.Context(), network.Installation, names); err == nil || token != "" {
			t.Error("a token for no repository is one for all")
		}
	}
	if token, _, err := w.hub.ReadToken(t.Context(), 0, []string{"stamp"}); err == nil || token != "" {
		t.Error("a token of no installation")
	}
}
