package hub

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Activity is one move of a branch.
type Activity struct {
	Kind   string    `json:"activity_type"` // ActivityMerge, push, force_push …
	Ref    string    `json:"ref"`           // refs/heads/…
	Before string    `json:"before"`        // commits; of a branch that is made, and of one that is deleted, one is all zeros
	After  string    `json:"after"`
	Actor  Account   `json:"actor"` // who moved it; without a login where the account is gone
	At     time.Time `json:"timestamp"`
}

// The kinds of an Activity that bring nothing beside what was merged of a pull request. GitHub has push, force_push and
// branch_creation, too.
const (
	ActivityMerge      = "pr_merge"
	ActivityQueueMerge = "merge_queue_merge"
	ActivityDeletion   = "branch_deletion"
)

// maxActivityPages bounds how many moves of a branch are looked through: 500.
const maxActivityPages = 5

// Activities gives the moves of a branch, the newest first, until each says no or there are too many: a caller that needs a certain one
// has to have seen it. It needs the permission contents: read.
// See https://docs.github.com/en/rest/repos/repos#list-repository-activities.
func (h *Hub) Activities(ctx context.Context, repo operation.Repository, branch string, each func(Activity) bool) error {
	ref := "refs/heads/" + branch
	var got []Activity
	_, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/activity", args: []string{repo.Owner, repo.Name}, out: &got,
		query: url.Values{"ref": {ref}},
		do:    "list", thing: "who moved branch " + harmless(branch) + " of " + repo.FullName(),
	}, maxActivityPages, func() bool {
		for _, one := range got {
			if one.Ref == ref && !each(one) {
				return false
			}
		}
		got = nil
		return true
	})
	return err
}
