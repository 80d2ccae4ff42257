package hub

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/go-github/v66/github"
)

// FailedDelivery is an attempt to deliver a webhook that GitHub counts as failed.
type FailedDelivery struct {
	ID        int64
	GUID      string // the same in each attempt
	Event     string
	Delivered time.Time
}

// maxDeliveryPages bounds how many failed attempts are looked at in one go: a hundred each.
const maxDeliveryPages = 5

// FailedDeliveries lists the failed attempts since a time, the newest first, at most 500.
// See https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook.
func (h *Hub) FailedDeliveries(ctx context.Context, since time.Time) ([]FailedDelivery, error) {
	var got []*github.HookDelivery
	var all []FailedDelivery
	_, err := h.list(ctx, theApp, request{
		method: http.MethodGet, route: "app/hook/deliveries", query: url.Values{"status": {"failure"}}, out: &got,
		do: "list", thing: "the failed deliveries of webhooks",
	}, maxDeliveryPages, func() bool {
		for _, d := range got {
			if d.GetDeliveredAt().Before(since) {
				return false
			}
			all = append(all, FailedDelivery{
				ID: d.GetID(), GUID: d.GetGUID(), Event: d.GetEvent(), Delivered: d.GetDeliveredAt().Time,
			})
		}
		got = nil
		return true
	})
	return all, err
}

// Redeliver has GitHub deliver a webhook once more, with the same GUID.
// See https://docs.github.com/en/rest/apps/webhooks#redeliver-a-delivery-for-an-app-webhook.
func (h *Hub) Redeliver(ctx context.Context, delivery int64) error {
	id := strconv.FormatInt(delivery, 10)
	_, err := h.call(ctx, theApp, request{
		method: http.MethodPost, route: "app/hook/deliveries/{delivery_id}/attempts", args: []string{id},
		do: "redeliver", thing: "delivery " + id,
	})
	return err
}
