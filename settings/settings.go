// Package settings holds the options of the server: read from a file and the environment, validated,
// each error naming the option, its value and the fix. cmd/app reads them and server uses them. It
// opens nothing but the files that the options name, and never repeats a secret.
package settings

import (
	"cmp"
	"path/filepath"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// The executors that a server can allow.
const (
	ExecutorLocal   = "local"   // Terraform runs on the server's host
	ExecutorActions = "actions" // Terraform runs in workflows of the repositories
)

// Settings are the options of a server.
type Settings struct {
	Listen         string   // address to listen on
	PublicURL      string   // of this server, for jobs of workflows; empty: they cannot reach it
	Replicas       int      // how many servers share the database
	DataDir        string   // database, mirrors and work directories
	Database       string   // "sqlite:/path" or "postgres://…"; empty: in DataDir
	AppID          int64    // of the GitHub App
	PrivateKey     []byte   // of the GitHub App, PEM
	WebhookSecrets [][]byte // any of them is accepted
	GitHub         GitHub
	Writes         Writes
	Executors      []string // that repositories may have; the first is for those that name none
	Terraform      Terraform
	Isolation      operation.Isolation // of the code of pull requests, on this host
	Parallel       Parallel
	Limits         Limits
	Replans        int           // how many pull requests are planned again after one apply
	Retention      time.Duration // how long deliveries and unused directories are kept
	Drain          time.Duration // how long running operations may take to finish on SIGTERM
	Sweep          time.Duration // how often to look for what webhooks have not told
	Clients        int           // installations whose tokens are kept
	Network        []string      // names of environment variables that git and Terraform get: proxy, certificates
	LogLevel       string
	LogFormat      string // json or text
}

// GitHub are the addresses of GitHub.
type GitHub struct {
	Web, API, GraphQL string
	Issuer            string // of the tokens by which jobs of workflows say who they are
}

// Writes bounds what all replicas together write to one installation; 0 is no bound.
type Writes struct{ PerMinute, PerHour int }

// Terraform says which Terraform runs, and with what.
type Terraform struct {
	Path        string   // of the binary; empty: found on PATH, else downloaded
	Version     string   // required; empty: any
	PluginCache string   // directory; empty: none
	Env         []string // names of further environment variables that Terraform gets
}

// Parallel bounds how many operations run at once.
type Parallel struct{ Plans, Applies int }

// Limits are the times after which something is stopped or given up.
type Limits struct {
	Plan      time.Duration // a plan
	Apply     time.Duration // an apply
	Lock      time.Duration // waiting for Terraform's state lock
	StopGrace time.Duration // between SIGINT and SIGKILL
	Queue     time.Duration // after which people are told that no runner takes a workflow run
}

// Allows reports whether repositories may have this executor.
func (s Settings) Allows(executor string) bool { return slices.Contains(s.Executors, executor) }

// Source is where the database is, as store.Open takes it.
func (s Settings) Source() string {
	return cmp.Or(s.Database, "sqlite:"+filepath.Join(s.DataDir, "switchyard.db"))
}

// Defaults are the settings of a server that was told nothing.
func Defaults() Settings {
	return Settings{
		Listen: ":8080", DataDir: "/var/lib/switchyard",
		GitHub:    addressesOf(webDefault),
		Replicas:  1,
		Writes:    Writes{PerMinute: 72, PerHour: 450}, // nine tenths of what GitHub documents
		Executors: []string{ExecutorLocal},
		Parallel:  Parallel{Plans: 4, Applies: 4},
		Limits: Limits{
			Plan: 30 * time.Minute, Apply: 2 * time.Hour, Lock: 5 * time.Minute, StopGrace: 2 * time.Minute, Queue: 10 * time.Minute,
		},
		Replans:   20,
		Retention: 30 * 24 * time.Hour,
		Drain:     10 * time.Minute, Sweep: 5 * time.Minute, Clients: 256, LogLevel: "info", LogFormat: "json",
		Network: []string{
			"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
			"GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
		},
	}
}
