package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How moves of branches are listed.
// https://docs.github.com/en/rest/repos/repos#list-repository-activities
const (
	activityPush     = "push"
	activityForce    = "force_push"
	activityCreation = "branch_creation"
	activityDeletion = "branch_deletion"
	activityMerge    = "pr_merge"
)

// activity is one move of a branch, and who moved it.
type activity struct {
	id            int64
	actor         *account
	kind          string
	ref           string
	before, after string
	at            time.Time
}

// noteActivity keeps a move of a branch. The caller holds mu.
func (r *Repository) noteActivity(actor *account, kind, branch, before, after string) {
	switch {
	case before == "":
		kind = activityCreation
	case after == "":
		kind = activityDeletion
	}
	r.activities = append(r.activities, activity{
		id: r.sandbox.nextID(), actor: actor, kind: kind, ref: "refs/heads/" + branch, at: r.sandbox.now(),
		before: cmp.Or(before, zeroSHA), after: cmp.Or(after, zeroSHA),
	})
}

// listActivities lists who moved the branches of a repository, newest first. It pages with a cursor that is named after.
// https://docs.github.com/en/rest/repos/repos#list-repository-activities
func listActivities(c *call) reply {
	s := c.sandbox
	query := c.request.URL.Query()
	perPage := min(positive(query.Get("per_page"), defaultPerPage), maxPerPage)
	after := int64(positive(query.Get("after"), 1<<20)) //nolint:mnd // above every id
	ref, kind, actor := query.Get("ref"), query.Get("activity_type"), query.Get("actor")
	s.mu.Lock()
	defer s.mu.Unlock()
	body := []object{}
	header := http.Header{}
	var last int64
	for _, one := range slices.Backward(c.repository.activities) {
		if one.id >= after || ref != "" && one.ref != ref && one.ref != "refs/heads/"+ref || kind != "" && one.kind != kind ||
			actor != "" && !strings.EqualFold(one.actor.login, actor) {
			continue
		}
		if len(body) == perPage {
			query.Set("after", strconv.FormatInt(last, 10))
			header.Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.APIURL(), c.path, query.Encode()))
			break
		}
		last = one.id
		body = append(body, object{
			"id": one.id, "node_id": nodeID("PSH", one.id), "before": one.before, "after": one.after, "ref": one.ref,
			"timestamp": stamp(one.at), "activity_type": one.kind, "actor": s.accountObject(one.actor),
		})
	}
	return reply{status: http.StatusOK, body: body, header: header}
}
