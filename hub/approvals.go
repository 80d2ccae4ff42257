package hub

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// LetBegin lists the people who, as required reviewers of a GitHub Environment, let the jobs of a run begin that name it. The App's word
// is none of a person.
// See https://docs.github.com/en/rest/actions/workflow-runs#get-the-review-history-for-a-workflow-run.
func (h *Hub) LetBegin(ctx context.Context, repo operation.Repository, run int64, environment string) ([]string, error) {
	type named struct {
		Name string `json:"name"`
	}
	var got []struct {
		State        string  `json:"state"`
		Environments []named `json:"environments"`
		User         struct {
			Login string `json:"login"`
			Type  string `json:"type"`
		} `json:"user"`
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/runs/{run_id}/approvals",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(run, 10)}, out: &got,
		do: "list", thing: fmt.Sprintf("who let run %d of %s begin", run, repo.FullName()),
	})
	var people []string
	for _, review := range got {
		of := slices.ContainsFunc(review.Environments, func(e named) bool { return strings.EqualFold(e.Name, environment) })
		if of && review.State == "approved" && review.User.Type == "User" && review.User.Login != "" {
			people = append(people, review.User.Login)
		}
	}
	return people, err
}
