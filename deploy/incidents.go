package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// incident is the wanted entry of an environment's incident issue: one open issue for each environment, opened with its first entry.
type incident struct {
	Environment string `json:"environment"`
	Body        string `json:"body"`
	Pull        int    `json:"pull,omitempty"` // the pull request that has the entry where the repository has no issues; 0: none
}

// wantIncident wants an entry. The same key is the same entry. Where GitHub takes no issue, it is written to a pull request.
func (d *Deploy) wantIncident(ctx context.Context, repo operation.Repository, environment, key, body string, pull int) error {
	wanted := incident{Environment: environment, Body: body, Pull: pull}
	return d.want(ctx, repo, surfaceIncident, incidentKey(environment, key), wanted, time.Time{})
}

// incidentKey is the key of the surface that shows an entry.
func incidentKey(environment, key string) string { return "incident/" + environment + "/" + key }

// writeIncident brings an entry to the issue of its environment.
func (d *Deploy) writeIncident(ctx context.Context, repo operation.Repository, key string, again bool, ids external, wanted incident,
) (external, error) {
	entry := marked(ids.Issue, wanted.Body, key)
	entry.Search = again
	if ids.ID != 0 {
		if wanted.Pull != 0 && ids.Issue == wanted.Pull {
			entry.Body = withoutIssue(wanted, key).Body
		}
		return d.putComment(ctx, repo, ids, entry)
	}
	d.incidents.Lock() // so that two first entries open one issue
	defer d.incidents.Unlock()
	number, err := d.Hub.Issue(ctx, repo, hub.OpenIssue{
		Title: render.IncidentTitle(wanted.Environment), Body: render.IncidentBody(wanted.Environment),
		Marker: render.IncidentMarker(wanted.Environment),
	})
	gone, person := (*hub.Gone)(nil), (*hub.NeedsPerson)(nil)
	switch {
	case err == nil:
	case wanted.Pull != 0 && (errors.As(err, &gone) || errors.As(err, &person)): // issues are switched off, or refused
		zerolog.Ctx(ctx).Warn().Err(err).Msg("the entry about an incident is written to a pull request, as there can be no issue")
		number = wanted.Pull
		entry.Body = withoutIssue(wanted, key).Body
	default:
		return ids, fmt.Errorf("open the issue for incidents: %w", err)
	}
	ids.Issue, entry.Number = number, number
	written, err := d.putComment(ctx, repo, ids, entry)
	written.Issue = number
	return written, err
}

// withoutIssue is an entry as its pull request shows it.
func withoutIssue(wanted incident, key string) hub.Comment {
	return marked(wanted.Pull, render.IncidentWithoutIssue(wanted.Body, wanted.Environment), key)
}
