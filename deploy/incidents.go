package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// incident is the wanted entry of an environment's incident issue: one open issue for each environment, opened with its first entry.
type incident struct {
	Environment string `json:"environment"`
	Body        string `json:"body"`
}

// wantIncident wants an entry. The same key is the same entry.
func (d *Deploy) wantIncident(ctx context.Context, repo operation.Repository, environment, key, body string) error {
	return d.want(ctx, repo, surfaceIncident, incidentKey(environment, key), incident{Environment: environment, Body: body}, time.Time{})
}

// incidentKey is the key of the surface that shows an entry.
func incidentKey(environment, key string) string { return "incident/" + environment + "/" + key }

// writeIncident brings an entry to the issue of its environment.
func (d *Deploy) writeIncident(ctx context.Context, repo operation.Repository, key string, again bool, ids external, wanted incident,
) (external, error) {
	entry := marked(ids.Issue, wanted.Body, key)
	entry.Search = again
	if ids.ID != 0 {
		return d.putComment(ctx, repo, ids, entry)
	}
	d.incidents.Lock() // so that two first entries open one issue
	defer d.incidents.Unlock()
	number, err := d.Hub.Issue(ctx, repo, hub.OpenIssue{
		Title: render.IncidentTitle(wanted.Environment), Body: render.IncidentBody(wanted.Environment),
		Marker: render.IncidentMarker(wanted.Environment),
	})
	if err != nil {
		return ids, fmt.Errorf("open the issue for incidents: %w", err)
	}
	ids.Issue, entry.Number = number, number
	written, err := d.putComment(ctx, repo, ids, entry)
	written.Issue = number
	return written, err
}
