package handlers

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/palantir/go-githubapp/githubapp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"
)

// The paths that the edge serves.
const (
	HookPath    = githubapp.DefaultWebhookRoute // POST: GitHub's webhooks
	HealthPath  = "/healthz"                    // 200 while the process serves
	ReadyPath   = "/readyz"                     // 200 while deliveries can be accepted, else 503
	MetricsPath = "/metrics"                    // for Prometheus
)

// MaxBody is how large a payload may be; GitHub sends none that is larger.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap.
const MaxBody = 25 << 20

// DefaultDeadline is how long one delivery may take. GitHub counts it as failed after 10 seconds.
// See https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks#respond-within-10-seconds.
const DefaultDeadline = 8 * time.Second

// bodiesAtOnce bounds the memory that senders take before their signature can be checked, in units of the
// largest body.
const bodiesAtOnce = 8

// readyDeadline is how long the answer of ReadyPath may take.
const readyDeadline = 2 * time.Second

// Keys of log lines.
const (
	keyAction      = "action"
	keyDelivery    = "delivery"
	keyEvent       = "event"
	keyOutcome     = "outcome"
	keyPullRequest = "pull_request"
	keyRepository  = "repository"
	keyStack       = "stack"
	keyStatus      = "status"
	keyTook        = "took"
	keyWhy         = "why"
)

// outcome is what became of a request to HookPath; also the label of the counter.
type outcome string

const (
	accepted  outcome = "accepted"  // committed
	duplicate outcome = "duplicate" // committed earlier, under the same GUID
	ignored   outcome = "ignored"   // an event of ours that changes nothing
	unknown   outcome = "unknown"   // an event that nobody handles
	unsigned  outcome = "unsigned"  // without the right signature
	tooLarge  outcome = "too_large"
	malformed outcome = "malformed"
	busy      outcome = "busy"   // too many bodies at once
	failed    outcome = "failed" // not committed; GitHub shows a failed delivery
)

// Options is what an edge is made of.
type Options struct {
	Secrets  [][]byte // of the webhook; any of them is accepted, so that a new one can take over. At least one
	Inbox    Inbox
	Jobs     Jobs                            // nil: jobs of workflows can ask nothing
	Ready    func(ctx context.Context) error // nil: always
	Metrics  *prometheus.Registry            // nil: a new one
	Clock    clockwork.Clock                 // nil: the real one
	Log      zerolog.Logger
	MaxBody  int64         // bytes; 0 is MaxBody
	Deadline time.Duration // of one delivery; 0 is DefaultDeadline
}

// edge is the webhook's endpoint: it lets in what is signed, small and in time, once.
type edge struct {
	secrets     [][]byte
	dispatchers []http.Handler // one per secret, because the dispatcher checks the signature once more
	events      map[string]bool
	maxBody     int64
	deadline    time.Duration
	memory      *semaphore.Weighted
	clock       clockwork.Clock
	log         zerolog.Logger

	deliveries *prometheus.CounterVec
	seconds    prometheus.Histogram
}

// NewEdge makes the HTTP side of the server: the webhook, health, readiness and metrics. It refuses to be
// made without a secret, because an unsigned webhook could be sent by anybody.
func NewEdge(options Options) (http.Handler, error) {
	if len(options.Secrets) == 0 {
		return nil, errors.New("handlers: there is no webhook secret; without one anybody could send webhooks")
	}
	for i, secret := range options.Secrets {
		if len(secret) == 0 {
			return nil, fmt.Errorf("handlers: webhook secret %d of %d is empty; anybody could sign with it", i+1, len(options.Secrets))
		}
	}
	registry := options.Metrics
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	e := &edge{
		secrets: options.Secrets, events: map[string]bool{}, log: options.Log,
		maxBody: options.MaxBody, deadline: options.Deadline, clock: options.Clock,
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchyard_webhook_deliveries_total",
			Help: "Requests to the webhook by event and by what became of them.",
		}, []string{"event", "outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "switchyard_webhook_seconds",
			Help:    "How long GitHub waited for the answer to a delivery.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10},
		}),
	}
	if e.maxBody <= 0 {
		e.maxBody = MaxBody
	}
	if e.deadline <= 0 {
		e.deadline = DefaultDeadline
	}
	if e.clock == nil {
		e.clock = clockwork.NewRealClock()
	}
	e.memory = semaphore.NewWeighted(bodiesAtOnce * e.maxBody)
	for _, collector := range []prometheus.Collector{e.deliveries, e.seconds} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("handlers: register metrics: %w", err)
		}
	}
	e.dispatch(All(options.Inbox))

	mux := http.NewServeMux()
	mux.Handle("POST "+HookPath, e)
	mux.HandleFunc("GET "+HealthPath, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.Handle("GET "+ReadyPath, ready(options.Ready, options.Log))
	mux.Handle("GET "+MetricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if options.Jobs != nil {
		asked := newJobs(options.Jobs, e.clock, e.log)
		mux.HandleFunc("POST "+ConfirmPath, asked.confirm)
		mux.HandleFunc("POST "+ModulesPath, asked.modules)
	}
	return mux, nil
}

// ServeHTTP answers one delivery. 200 is sent only after the delivery is committed.
func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := e.clock.Now()
	ctx, cancel := context.WithTimeout(r.Context(), e.deadline)
	defer cancel()
	// The context does not end the reading of a slow body. Writers that cannot do this have no slow bodies.
	_ = http.NewResponseController(w).SetReadDeadline(began.Add(e.deadline))

	out := &reply{note: note{outcome: ignored}, status: http.StatusOK, text: "ok"}
	ctx = context.WithValue(context.WithValue(ctx, replyKey{}, out), noteKey{}, &out.note)
	e.handle(w, r.WithContext(ctx), out)

	answer(w, out.status, out.text)
	event := r.Header.Get("X-Github-Event")
	label := "other"
	if e.events[event] && out.outcome != unsigned {
		label = event
	}
	took := e.clock.Since(began)
	e.deliveries.WithLabelValues(label, string(out.outcome)).Inc()
	e.seconds.Observe(took.Seconds())
	e.write(r.Header, out, took)
}

// reply is what will be answered, counted and logged. Its zero value with a note is "200".
type reply struct {
	note

	status int
	text   string
	err    error
	stack  string
}

type replyKey struct{}

func replyOf(ctx context.Context) *reply {
	if r, ok := ctx.Value(replyKey{}).(*reply); ok {
		return r
	}
	return &reply{}
}

func (r *reply) say(status int, o outcome, text string) {
	r.status, r.outcome, r.text = status, o, text
}

// fail is the answer to a delivery that a handler did not accept.
func (r *reply) fail(err error) {
	r.err = err
	bad, isBad := errors.AsType[*Malformed](err)
	_, isInvalid := errors.AsType[githubapp.ValidationError](err)
	switch {
	case isBad:
		r.say(http.StatusBadRequest, malformed, bad.Error())
	case isInvalid:
		r.say(http.StatusBadRequest, malformed, "the payload cannot be read")
	default:
		r.say(http.StatusInternalServerError, failed, "not accepted; send it again")
	}
}

// dispatch makes the dispatchers. They write nothing by themselves: what they find out goes to the reply
// in the request's context, so that there is one place that answers, counts and logs.
func (e *edge) dispatch(all []githubapp.EventHandler) {
	for _, handler := range all {
		for _, event := range handler.Handles() {
			e.events[event] = true
		}
	}
	onError := func(_ http.ResponseWriter, r *http.Request, err error) { replyOf(r.Context()).fail(err) }
	onResponse := func(_ http.ResponseWriter, r *http.Request, _ string, handled bool) {
		if !handled {
			replyOf(r.Context()).say(http.StatusAccepted, unknown, "nothing handles this event")
		}
	}
	for _, secret := range e.secrets {
		e.dispatchers = append(e.dispatchers, githubapp.NewEventDispatcher(all, string(secret),
			githubapp.WithErrorCallback(onError), githubapp.WithResponseCallback(onResponse)))
	}
}

// write writes the log line of a reply, at the level that it deserves.
func (e *edge) write(header http.Header, out *reply, took time.Duration) {
	level := zerolog.InfoLevel
	switch {
	case out.status >= http.StatusInternalServerError:
		level = zerolog.ErrorLevel
	case out.status >= http.StatusBadRequest:
		level = zerolog.WarnLevel
	}
	line := e.log.WithLevel(level).
		Str(keyDelivery, short(header.Get("X-Github-Delivery"))).Str(keyEvent, short(header.Get("X-Github-Event"))).
		Str(keyAction, short(out.action)).Str(keyRepository, short(out.repository)).
		Str(keyOutcome, string(out.outcome)).Int(keyStatus, out.status).Dur(keyTook, took)
	if out.number != 0 {
		line = line.Int(keyPullRequest, out.number)
	}
	if out.err != nil {
		line = line.Err(out.err)
	}
	if out.stack != "" {
		line = line.Str(keyStack, out.stack)
	}
	if out.why != "" {
		line = line.Str(keyWhy, out.why)
	}
	line.Msg("Webhook")
}

// short keeps what a sender wrote from filling the log.
func short(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// handle finds out the reply. A panic below it is a failed delivery, not the end of the server.
func (e *edge) handle(w http.ResponseWriter, r *http.Request, out *reply) {
	defer func() {
		if problem := recover(); problem != nil {
			out.err, out.stack = fmt.Errorf("panic: %v", problem), string(debug.Stack())
			out.say(http.StatusInternalServerError, failed, "not accepted; send it again")
		}
	}()
	body, release, ok := e.body(w, r, out)
	if !ok {
		return
	}
	defer release()
	dispatcher, ok := e.verify(r.Header.Get("X-Hub-Signature-256"), body)
	if !ok {
		out.say(http.StatusUnauthorized, unsigned, "the signature is not right")
		return
	}
	if problem := check(r.Header, body); problem != "" {
		out.say(http.StatusBadRequest, malformed, problem)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	dispatcher.ServeHTTP(w, r)
}

// body reads the body, at most maxBody bytes of it, as far as memory for all senders allows.
func (e *edge) body(w http.ResponseWriter, r *http.Request, out *reply) ([]byte, func(), bool) {
	if r.ContentLength > e.maxBody {
		out.say(http.StatusRequestEntityTooLarge, tooLarge, "the payload is larger than GitHub sends")
		return nil, nil, false
	}
	if _, ok := signature(r.Header.Get("X-Hub-Signature-256")); !ok { // no need to read it
		out.say(http.StatusUnauthorized, unsigned, "the signature is missing")
		return nil, nil, false
	}
	need := r.ContentLength
	if need < 0 {
		need = e.maxBody
	}
	if err := e.memory.Acquire(r.Context(), need); err != nil {
		out.say(http.StatusServiceUnavailable, busy, "too many payloads at once; send it again")
		return nil, nil, false
	}
	release := func() { e.memory.Release(need) }
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, e.maxBody))
	if err == nil {
		return body, release, true
	}
	release()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		out.say(http.StatusRequestEntityTooLarge, tooLarge, "the payload is larger than GitHub sends")
		return nil, nil, false
	}
	out.err = err
	out.say(http.StatusBadRequest, malformed, "the payload broke off")
	return nil, nil, false
}

// signature reads the header X-Hub-Signature-256. See
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
func signature(header string) ([]byte, bool) {
	digits, ok := strings.CutPrefix(header, "sha256=")
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return nil, false
	}
	mac, err := hex.DecodeString(digits)
	return mac, err == nil
}

// verify is the dispatcher of the secret that the body was signed with. All secrets are tried, whichever
// fits, so that the time it takes says nothing about them.
func (e *edge) verify(header string, body []byte) (http.Handler, bool) {
	given, ok := signature(header)
	if !ok {
		return nil, false
	}
	var found http.Handler
	for i, secret := range e.secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write(body) // a hash never fails to take bytes
		if hmac.Equal(given, mac.Sum(nil)) {
			found = e.dispatchers[i]
		}
	}
	return found, found != nil
}

var (
	eventName    = regexp.MustCompile(`^[a-z][a-z_]{0,63}$`)
	deliveryGUID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
)

// check says what is wrong with a signed request; "" is nothing.
func check(header http.Header, body []byte) string {
	switch mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type")); {
	case err != nil || mediaType != "application/json":
		return "the content type of the webhook must be application/json"
	case !eventName.MatchString(header.Get("X-Github-Event")):
		return "the header X-GitHub-Event is missing or not an event"
	case !deliveryGUID.MatchString(header.Get("X-Github-Delivery")):
		return "the header X-GitHub-Delivery is missing or not a GUID"
	case !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")), !json.Valid(body):
		return "the payload is not a JSON object"
	default:
		return ""
	}
}

// ready answers whether deliveries can be accepted. The reason why not is for the log: it may tell more
// about the database than a stranger should know.
func ready(ask func(context.Context) error, log zerolog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyDeadline)
		defer cancel()
		if ask != nil {
			if err := ask(ctx); err != nil {
				log.Warn().Err(err).Msg("Not ready")
				answer(w, http.StatusServiceUnavailable, "not ready")
				return
			}
		}
		answer(w, http.StatusOK, "ready")
	})
}

// answer writes a status with a line of text.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the sender may be gone; the status is all that counts
}
