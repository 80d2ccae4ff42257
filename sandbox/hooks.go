package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	// webhookTimeout is how long GitHub waits for an answer.
	// https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks
	webhookTimeout = 10 * time.Second
	keptDeliveries = 5_000
	keptResponse   = 64 << 10
)

// delivery is one attempt, waiting or made.
type delivery struct {
	Delivery
	url          string
	installation int64
	repository   int64
}

// emit queues a webhook about r if the App is installed there and subscribes to the event. The
// payload is written down as things are now. The caller holds mu.
func (s *Sandbox) emit(r *Repository, sender *account, event, action string, payload object) {
	s.trigger(r, sender, event, action, payload)
	i := s.installed(r)
	if i == nil || !slices.Contains(s.events, event) {
		return
	}
	payload["repository"] = s.repositoryObject(r)
	payload["sender"] = s.accountObject(sender)
	payload["installation"] = object{"id": i.id, "node_id": nodeID("MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u", i.id)}
	if r.owner.kind == "Organization" {
		payload["organization"] = s.organizationObject(r.owner)
	}
	s.enqueue(event, action, payload, i.id, r)
}

// enqueue signs a payload and hands it to the sender. The caller holds mu. Without an address nothing is sent.
func (s *Sandbox) enqueue(event, action string, payload object, installation int64, r *Repository) {
	if s.webhookURL == "" {
		return
	}
	if action != "" {
		payload["action"] = action
	}
	body, err := json.Marshal(payload)
	if err != nil {
		s.log.Error().Err(err).Str("event", event).Msg("write webhook payload")
		return
	}
	guid := newGUID()
	d := &delivery{
		Delivery: Delivery{
			ID: s.nextID(), GUID: guid, Event: event, Action: action, Payload: body, Headers: s.webhookHeaders(event, guid, body),
		},
		url: s.webhookURL, installation: installation,
	}
	if r != nil {
		d.Repository, d.repository = r.FullName(), r.id
	}
	s.push(d)
}

// push gives a delivery to the sender. The caller holds mu.
func (s *Sandbox) push(d *delivery) {
	s.queue = append(s.queue, d)
	if len(s.queue) == 1 {
		close(s.queued)
	}
}

// webhookHeaders are those that GitHub sends with the deliveries of an App.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
func (s *Sandbox) webhookHeaders(event, guid string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write(body)
	return http.Header{
		"Accept":                                 {"*/*"},
		"Content-Type":                           {"application/json"},
		"User-Agent":                             {"GitHub-Hookshot/sandbox"},
		"X-Github-Delivery":                      {guid},
		"X-Github-Event":                         {event},
		"X-Github-Hook-Id":                       {strconv.Itoa(appID)},
		"X-Github-Hook-Installation-Target-Id":   {strconv.Itoa(appID)},
		"X-Github-Hook-Installation-Target-Type": {"integration"},
		"X-Hub-Signature-256":                    {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
	}
}

// newGUID is a random UUID.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sendWebhooks sends one webhook after the other in the order in which they came about, each once.
func (s *Sandbox) sendWebhooks(ctx context.Context) {
	client := &http.Client{
		Timeout:       webhookTimeout,
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 1, IdleConnTimeout: webhookTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	for {
		s.mu.Lock()
		queued := s.queued
		s.mu.Unlock()
		select {
		case <-queued:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		d := s.queue[0]
		s.queue = s.queue[1:]
		if len(s.queue) == 0 {
			s.queued = make(chan struct{})
		}
		sending := d.Delivery
		s.mu.Unlock()
		s.send(ctx, client, d, sending)
	}
}

func (s *Sandbox) send(ctx context.Context, client *http.Client, d *delivery, sending Delivery) {
	sending.DeliveredAt = s.now()
	started := time.Now() // a duration, whatever the sandbox's clock shows
	header, answer, err := post(ctx, client, d.url, &sending)
	sending.Duration = time.Since(started)
	sending.Response = string(answer)
	code := sending.StatusCode
	if err != nil {
		// GitHub shows a delivery without an answer as 502.
		sending.StatusCode, sending.Status = http.StatusBadGateway, "failed to connect to host"
		s.log.Warn().Err(err).Str("event", sending.Event).Str("delivery", sending.GUID).Msg("webhook was not answered")
	}
	s.tell(Exchange{
		Event: sending.Event, Method: http.MethodPost, RequestHeader: sending.Headers, RequestBody: sending.Payload,
		Status: code, ResponseHeader: header, ResponseBody: answer,
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Delivery = sending
	s.deliveries = append(s.deliveries, d)
	if len(s.deliveries) > keptDeliveries {
		s.deliveries = slices.Delete(s.deliveries, 0, len(s.deliveries)-keptDeliveries)
	}
	s.change()
}

func post(ctx context.Context, client *http.Client, url string, d *Delivery) (http.Header, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Payload))
	if err != nil {
		return nil, nil, fmt.Errorf("make webhook request: %w", err)
	}
	request.Header = d.Headers.Clone()
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("send webhook: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end or not wanted
	answer, err := io.ReadAll(io.LimitReader(response.Body, keptResponse))
	if err != nil {
		return nil, nil, fmt.Errorf("read answer to webhook: %w", err)
	}
	d.StatusCode, d.Status = response.StatusCode, http.StatusText(response.StatusCode)
	return response.Header, answer, nil
}

// tell shows an exchange to the observer.
func (s *Sandbox) tell(e Exchange) {
	if s.observe == nil {
		return
	}
	s.observing.Lock()
	defer s.observing.Unlock()
	s.observe(e)
}

// Deliveries are the recent attempts to deliver a webhook that were answered or given up, oldest first.
func (s *Sandbox) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Delivery, 0, len(s.deliveries))
	for _, d := range s.deliveries {
		all = append(all, d.Delivery)
	}
	return all
}

// Redeliver sends the webhook of a delivery once more, with the same GUID, to where webhooks go now.
func (s *Sandbox) Redeliver(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.deliveries, func(d *delivery) bool { return d.ID == id })
	if i < 0 {
		return fmt.Errorf("the sandbox has no delivery %d", id)
	}
	old := s.deliveries[i]
	again := &delivery{
		Delivery: Delivery{
			ID: s.nextID(), GUID: old.GUID, Event: old.Event, Action: old.Action, Redelivery: true, Repository: old.Repository,
			Headers: old.Headers, Payload: old.Payload,
		},
		url: s.webhookURL, installation: old.installation, repository: old.repository,
	}
	s.push(again)
	return nil
}

// Install adds repositories to the App's installation on their owner, which is made with the first
// ones. It sends installation.created or installation_repositories.added.
func (s *Sandbox) Install(_ context.Context, owner string, repos ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	account, err := s.account(owner)
	if err != nil {
		return err
	}
	var added []*Repository
	for _, name := range repos {
		r := s.find(owner, name)
		if r == nil {
			return fmt.Errorf("install on %s/%s: there is no such repository", owner, name)
		}
		added = append(added, r)
	}
	list := make([]object, 0, len(added))
	for _, r := range added {
		list = append(list, s.repositoryName(r))
	}
	payload := object{"sender": s.accountObject(account)}
	event, action := "installation_repositories", "added"
	i := s.installationOf(account)
	if i == nil {
		i = &installation{id: s.nextID(), account: account, created: s.now()}
		s.installations = append(s.installations, i)
		event, action = "installation", "created"
		payload["repositories"] = list
	} else {
		added = slices.DeleteFunc(added, func(r *Repository) bool { return slices.Contains(i.repositories, r) })
		payload["repository_selection"], payload["requester"] = "selected", nil
		payload["repositories_added"], payload["repositories_removed"] = list, []object{}
	}
	i.repositories = append(i.repositories, added...)
	payload["installation"] = s.installationObject(i)
	s.enqueue(event, action, payload, i.id, nil)
	s.change()
	return nil
}

// Uninstall removes the App from an owner, with its tokens, and sends installation.deleted.
func (s *Sandbox) Uninstall(_ context.Context, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	account, err := s.account(owner)
	if err != nil {
		return err
	}
	i := s.installationOf(account)
	if i == nil {
		return fmt.Errorf("the App is not installed on %s", owner)
	}
	list := make([]object, 0, len(i.repositories))
	for _, r := range i.repositories {
		list = append(list, s.repositoryName(r))
	}
	payload := object{"installation": s.installationObject(i), "repositories": list, "sender": s.accountObject(account)}
	s.installations = slices.DeleteFunc(s.installations, func(other *installation) bool { return other == i })
	maps.DeleteFunc(s.tokens, func(_ string, t *token) bool { return t.installation == i })
	s.enqueue("installation", "deleted", payload, i.id, nil)
	s.change()
	return nil
}

// Ping sends a ping, as GitHub does when an App's webhook address is set.
func (s *Sandbox) Ping(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue("ping", "", object{
		"zen": "Keep it logically awesome.", "hook_id": appID,
		"hook": object{
			"type": "App", "id": appID, "name": "web", "active": true, "app_id": appID, "events": []string{"*"},
			"config":     object{"content_type": "json", "url": s.webhookURL, "insecure_ssl": "0", "secret": "********"},
			"created_at": stamp(s.now()), "updated_at": stamp(s.now()), "url": s.APIURL() + "/app/hook",
			"ping_url": s.APIURL() + "/app/hook/pings", "deliveries_url": s.APIURL() + "/app/hook/deliveries",
		},
	}, 0, nil)
	return nil
}

func (st *state) installationOf(a *account) *installation {
	for _, i := range st.installations {
		if i.account == a {
			return i
		}
	}
	return nil
}
