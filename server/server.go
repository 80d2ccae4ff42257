// Package server wires the rooms together: settings in, a running server out. cmd/app and the tests
// call it. It decides nothing.
package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// Options are what a server needs beside its settings.
type Options struct {
	Settings settings.Settings
	Clock    clockwork.Clock // nil: the real one
	Log      zerolog.Logger
	Program  string // path of the switchyard binary, which is started as the runner

	Listener net.Listener      // where it serves, instead of Settings.Listen; closed with it. nil: there is none yet
	Env      map[string]string // of Terraform, besides what the settings let through of the server's own; for tests and the sandbox
}

// Server is a server that listens, but does nothing until Run.
type Server struct {
	settings settings.Settings
	log      zerolog.Logger
	clock    clockwork.Clock
	listener net.Listener
	http     *http.Server
	host     *host
	store    *store.Store
	git      *git.Mirrors
	queue    *queue.Queue
	deploy   *deploy.Deploy
	inbox    *inbox
}

// The directories below the data directory.
const (
	dirMirrors  = "mirrors"
	dirWork     = "work"
	dirRuns     = "runs"
	dirTools    = "tools"
	databaseURL = "switchyard.db"

	dirMode = 0o700
	// flushLimit bounds how long a server that ends shows what it has done.
	flushLimit = 10 * time.Second
	// headerLimit bounds how long a client may take to send its headers.
	headerLimit = 5 * time.Second
)

// New opens the database, finds Terraform and listens. Close, or Run's end, gives all of it back.
func New(ctx context.Context, o Options) (*Server, error) {
	held := o.Clock // nil unless a test holds it: between replicas the database's clock decides
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	s := &Server{settings: o.Settings, log: o.Log, clock: o.Clock}
	if err := s.open(ctx, o, held); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// URL is where the server listens.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Run serves until ctx ends. Then it stops accepting, lets what runs finish for as long as the
// settings say, and returns.
func (s *Server) Run(ctx context.Context) error {
	defer func() {
		if err := s.Close(); err != nil {
			s.log.Error().Err(err).Msg("could not close cleanly")
		}
	}()
	if err := s.deploy.Recover(ctx); ctx.Err() != nil {
		return nil // told to end before it had begun
	} else if err != nil {
		return fmt.Errorf("take up what was left behind: %w", err)
	}
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	var published errgroup.Group
	published.Go(func() error { return s.deploy.Publish(publishing) })
	published.Go(func() error { s.deploy.Tend(publishing); return nil }) // also while it drains: it is alive

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error { return s.queue.Run(groupCtx) })
	group.Go(func() error { s.sweep(groupCtx); return nil })
	group.Go(func() error { s.forget(groupCtx); return nil })
	group.Go(func() error {
		<-groupCtx.Done()
		return s.drain(context.WithoutCancel(ctx))
	})
	s.log.Info().Str("url", s.URL()).Msg("serving")
	err := group.Wait()
	flushing, stopFlushing := context.WithTimeout(publishing, flushLimit)
	s.deploy.Flush(flushing)
	stopFlushing()
	stopPublishing()
	return errors.Join(err, published.Wait())
}

// Close gives back what New took.
func (s *Server) Close() error {
	var all []error
	if s.http != nil {
		all = append(all, s.http.Close())
	}
	if s.listener != nil { // the HTTP server closes only what it has begun to serve
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			all = append(all, err)
		}
	}
	if s.git != nil {
		all = append(all, s.git.Close())
	}
	if s.store != nil {
		all = append(all, s.store.Close())
	}
	if s.host != nil {
		all = append(all, s.host.Close())
	}
	return errors.Join(all...)
}

// wholeSweep is how often everything is looked at: it costs calls for each repository.
const wholeSweep = time.Hour

// sweep has the queue look for what webhooks have not told, at once and then again and again.
func (s *Server) sweep(ctx context.Context) {
	ticker := s.clock.NewTicker(s.settings.Sweep)
	defer ticker.Stop()
	var whole time.Time
	for {
		everything := s.clock.Since(whole) >= wholeSweep
		if everything {
			whole = s.clock.Now()
		}
		if err := s.store.Enqueue(ctx, deploy.SweepJob(everything)); err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("could not queue a sweep")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
	}
}

// forgetEvery is how often deliveries and directories are looked through for those that are kept long enough.
const forgetEvery = time.Hour

// forget deletes what is older than the settings keep it, at once and then every hour: deliveries of all servers, and
// directories of this one.
func (s *Server) forget(ctx context.Context) {
	ticker := s.clock.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		gone, err := s.store.Forget(ctx, s.settings.Retention)
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Error().Err(err).Msg("could not forget old deliveries")
		case gone > 0:
			s.log.Info().Int64("deliveries", gone).Msg("old deliveries forgotten")
		}
		removed, err := s.deploy.Tidy(ctx, s.settings.Retention)
		if err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("could not remove all old directories")
		}
		if removed > 0 {
			s.log.Info().Int("directories", removed).Msg("old work directories and results removed")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
	}
}

func (s *Server) open(ctx context.Context, o Options, held clockwork.Clock) error {
	data := s.settings.DataDir
	for _, dir := range []string{data, filepath.Join(data, dirMirrors), filepath.Join(data, dirWork), filepath.Join(data, dirRuns)} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return fmt.Errorf("make the data directory: %w", err)
		}
	}
	source := s.settings.Database
	if source == "" {
		source = "sqlite:" + filepath.Join(data, databaseURL)
	}
	var err error
	if s.host, err = openHost(data); err != nil {
		return err
	}
	if s.store, err = store.Open(ctx, source, held); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.MustRegister(newBacklog(s.store))
	github := s.settings.GitHub
	hubs, err := hub.New(hub.Options{
		AppID: s.settings.AppID, PrivateKey: s.settings.PrivateKey, APIURL: github.API, WebURL: github.Web,
		GraphQLURL: github.GraphQL, Pace: pace(s.settings.Writes), Replicas: s.settings.Replicas,
		Clients: s.settings.Clients, Clock: o.Clock, Metrics: metrics, Log: o.Log,
	})
	if err != nil {
		return fmt.Errorf("set up the GitHub client: %w", err)
	}
	s.git = git.New(filepath.Join(data, dirMirrors),
		hubs.CloneURL, hubs.Token, git.Options{Log: o.Log, Env: s.settings.NetworkEnv()})
	if err := s.wire(ctx, o, hubs, metrics); err != nil {
		return err
	}
	return s.listen(ctx, o, metrics)
}

// pace is how much the hub writes at most; it calls no bound a negative number.
func pace(writes settings.Writes) hub.Pace {
	bound := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	return hub.Pace{PerMinute: bound(writes.PerMinute), PerHour: bound(writes.PerHour)}
}

// wire makes the executor, the queue and deploy.
func (s *Server) wire(ctx context.Context, o Options, hubs *hub.Hub, metrics *prometheus.Registry) error {
	data := s.settings.DataDir
	options := deploy.Options{
		Store: s.store, Git: s.git, Hub: hubs, Clock: o.Clock, Log: o.Log,
		Host: s.host.id, HostName: s.host.name, Shared: strings.HasPrefix(s.settings.Database, "postgres"),
		WebURL: s.settings.GitHub.Web, WorkDir: filepath.Join(data, dirWork), CacheDir: s.settings.Terraform.PluginCache,
		Env:       with(s.settings.TerraformEnv(), o.Env),
		PlanLimit: s.settings.Limits.Plan, ApplyLimit: s.settings.Limits.Apply,
		PublicURL: s.settings.PublicURL, LockTimeout: s.settings.Limits.Lock, StopGrace: s.settings.Limits.StopGrace, Replans: s.settings.Replans,
	}
	dispatches := newDispatches()
	metrics.MustRegister(dispatches)
	options.Dispatched = func(kind operation.Kind, own time.Duration) {
		dispatches.WithLabelValues(string(kind)).Observe(own.Seconds())
	}
	if s.settings.PublicURL != "" {
		options.Identities = hub.NewIdentities(s.settings.GitHub.Issuer, s.settings.PublicURL, nil, o.Clock)
	}
	if err := s.executors(ctx, o, hubs, &options); err != nil {
		return err
	}
	s.deploy = deploy.New(options)
	s.inbox = newInbox(s.store)
	s.queue = queue.New(s.store, o.Clock, o.Log, queue.Options{
		Workers: map[queue.Class]int{
			queue.Quick: quickWorkers, queue.Long: longWorkers(s.settings), queue.Bots: botsWorkers(s.settings),
		},
		MaxAttempts: maxAttempts, OnDead: s.deploy.Dead, Worker: s.host.id, Before: s.inbox.wait,
	})
	s.deploy.Register(s.queue)
	return nil
}

// with adds variables.
func with(env, more map[string]string) map[string]string {
	maps.Copy(env, more)
	return env
}

// sayIsolation says at the start what keeps the code of pull requests from the server's secrets, and what does not.
func sayIsolation(log zerolog.Logger, isolation operation.Isolation) {
	missing := confine.Missing()
	for _, p := range missing {
		log.Warn().Str("protection", string(p)).Msg("this host does not isolate the code of pull requests from the server, " +
			"which the settings accept (isolation.missing): " + p.Danger())
	}
	log.Info().Strs("read", isolation.Read).Strs("write", isolation.Write).Interface("missing", missing).
		Msg("Terraform and the code of pull requests run without privileges, with the files of their own operation only, and cannot look " +
			"into other processes. They reach the network, and sockets in the file system that the server's user may open; they can " +
			"change the modes of that user's files")
}

// environ is the whole environment of a runner: what it needs to find git and to reach the network.
func environ(network map[string]string) []string {
	all := []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range network {
		all = append(all, name+"="+value)
	}
	return all
}

// maxAttempts is after how many failures work is given up: after 35 to 70 minutes, longer than most outages of GitHub.
const maxAttempts = 20

// quickWorkers is how many looks and decisions run at once; they mostly wait for GitHub.
const quickWorkers = 8

// inWorkflows is how many operations may run in workflows of the repositories at once: whoever waits for one waits for GitHub, at times
// for a reviewer for days.
const inWorkflows = 500

// longWorkers is how many operations may wait for an executor at once. The executor bounds how many
// run; a few more workers keep a waiting plan from standing in the way of an apply.
func longWorkers(s settings.Settings) int {
	const spare = 16
	workers := s.Parallel.Plans + s.Parallel.Applies + spare
	if s.Allows(settings.ExecutorActions) {
		workers += inWorkflows
	}
	return workers
}

// botsWorkers is how many plans that nobody waits for may run or wait for the executor at once: half of the plans, so that
// a person's plan finds a place beside them at any time.
func botsWorkers(s settings.Settings) int {
	workers := max(s.Parallel.Plans/2, 1)
	if s.Allows(settings.ExecutorActions) {
		workers += inWorkflows / 10 //nolint:mnd // people's go first
	}
	return workers
}

func (s *Server) listen(ctx context.Context, o Options, metrics *prometheus.Registry) error {
	options := handlers.Options{
		Secrets: s.settings.WebhookSecrets, Inbox: s.inbox, Ready: s.ready, Metrics: metrics, Log: o.Log, Clock: o.Clock,
	}
	if s.settings.PublicURL != "" {
		options.Jobs = s.deploy
	}
	edge, err := handlers.NewEdge(options)
	if err != nil {
		return fmt.Errorf("set up the webhook endpoint: %w", err)
	}
	if s.listener = o.Listener; s.listener == nil {
		if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.settings.Listen); err != nil {
			return fmt.Errorf("listen on %s: %w", s.settings.Listen, err)
		}
	}
	s.http = &http.Server{Handler: edge, ReadHeaderTimeout: headerLimit, BaseContext: func(net.Listener) context.Context {
		return context.WithoutCancel(ctx)
	}}
	return nil
}

// ready reports whether a delivery that is accepted now can be kept and worked on.
func (s *Server) ready(ctx context.Context) error {
	if err := s.store.Ping(ctx); err != nil {
		return err //nolint:wrapcheck // it says itself what it did
	}
	return disk{dir: s.settings.DataDir, room: freeRoom}.takes()
}

// drain stops accepting deliveries, and stops waiting for what runs when the time is up. A runner
// that is left goes on by itself.
func (s *Server) drain(ctx context.Context) error {
	s.log.Info().Dur("for", s.settings.Drain).Msg("draining: no new deliveries, running operations finish; a second signal ends at once")
	s.clock.AfterFunc(s.settings.Drain, s.queue.Stop)
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop accepting: %w", err)
	}
	return nil
}
