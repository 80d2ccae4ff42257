package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestTheServerTellsItsHealthAndItsMetrics(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	for path, words := range map[string][]string{
		"/healthz": nil,
		"/readyz":  nil,
		"/metrics": {
			`switchyard_webhook_deliveries_total{event="pull_request",outcome="accepted"}`, "switchyard_github_requests_total",
			`switchyard_jobs{class="quick",state="dead"} 0`, "switchyard_surfaces_pending",
		},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Timeout: patience}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d, %v", path, response.StatusCode, err)
		}
		for _, word := range words {
			if !strings.Contains(string(body), word) {
				t.Errorf("%s lacks %s", path, word)
			}
		}
	}
}
