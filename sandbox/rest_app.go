package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func getApp(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.appObject()
	app["installations_count"] = len(s.installations)
	return reply{status: http.StatusOK, body: app}
}

func listInstallations(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	return list(c, s.installations, func(i *installation) object {
		o := s.installationObject(i)
		// GitHub's description of this list asks that the account be a user and an enterprise at once.
		if account, ok := o["account"].(object); ok {
			account["name"], account["slug"] = i.account.name, i.account.login
			account["created_at"], account["updated_at"] = stamp(i.account.created), stamp(i.account.created)
		}
		return o
	})
}

func getInstallation(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.installationByID(c.id("installation_id"))
	if i == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.installationObject(i)}
}

func getRepositoryInstallation(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.installed(c.repository)
	if i == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.installationObject(i)}
}

func listInstallationRepositories(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	visible := slices.DeleteFunc(slices.Clone(c.token.installation.repositories), func(r *Repository) bool { return !c.token.covers(r) })
	answer := list(c, visible, s.repositoryObject)
	answer.body = object{"total_count": len(visible), "repository_selection": "selected", "repositories": answer.body}
	return answer
}

func getRateLimit(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	show := func(resource string) object {
		w := s.window("installation "+strconv.FormatInt(c.token.installation.id, 10), resource)
		return object{"limit": w.limit, "used": w.used, "remaining": w.limit - w.used, "reset": w.reset.Unix()}
	}
	return reply{status: http.StatusOK, body: object{
		"resources": object{"core": show("core"), "search": show("search"), "graphql": show("graphql")}, "rate": show("core"),
	}}
}

func getUser(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.account(c.params["username"])
	if err != nil {
		return notFound()
	}
	user := s.fill("profile", nil, s.accountObject(a))
	user["user_view_type"] = "public"
	user["name"], user["created_at"], user["updated_at"] = a.name, stamp(a.created), stamp(a.created)
	return reply{status: http.StatusOK, body: user}
}

func getMembership(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.teams[strings.ToLower(c.params["org"]+"/"+c.params["team_slug"])]
	if t == nil || t.org != c.token.installation.account || !t.members[strings.ToLower(c.params["username"])] {
		return notFound()
	}
	address := fmt.Sprintf("%s/orgs/%s/teams/%s/memberships/%s", s.APIURL(), url.PathEscape(t.org.login), url.PathEscape(t.slug),
		url.PathEscape(c.params["username"]))
	return reply{status: http.StatusOK, body: object{"url": address, "role": "member", "state": "active"}}
}

func (s *Sandbox) deliveryObject(d *delivery) object {
	o := object{
		"id": d.ID, "guid": d.GUID, "delivered_at": stamp(d.DeliveredAt), "redelivery": d.Redelivery,
		"duration": d.Duration.Seconds(), "status": d.Status, "status_code": d.StatusCode, "event": d.Event,
		"action": orNull(d.Action), "installation_id": nil, "repository_id": nil, "throttled_at": nil,
	}
	if d.installation != 0 {
		o["installation_id"] = d.installation
	}
	if d.repository != 0 {
		o["repository_id"] = d.repository
	}
	return o
}

// listDeliveries pages with a cursor, newest first.
// https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook
func listDeliveries(c *call) reply {
	s := c.sandbox
	query := c.request.URL.Query()
	perPage := min(positive(query.Get("per_page"), defaultPerPage), maxPerPage)
	cursor := int64(positive(query.Get("cursor"), 1<<20)) //nolint:mnd // above every id
	s.mu.Lock()
	defer s.mu.Unlock()
	body := []object{}
	header := http.Header{}
	for _, d := range slices.Backward(s.deliveries) {
		failed := d.StatusCode >= http.StatusBadRequest
		if d.ID > cursor || query.Get("status") == "failure" && !failed || query.Get("status") == "success" && failed {
			continue
		}
		if len(body) == perPage {
			query.Set("cursor", strconv.FormatInt(d.ID, 10))
			header.Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.APIURL(), c.path, query.Encode()))
			break
		}
		body = append(body, s.deliveryObject(d))
	}
	return reply{status: http.StatusOK, body: body, header: header}
}

func redeliver(c *call) reply {
	id := c.id("delivery_id")
	if err := c.sandbox.Redeliver(id); err != nil {
		return notFound()
	}
	return reply{status: http.StatusAccepted, body: object{}, effect: "redeliver"}
}
